/* SPDX-License-Identifier: MIT */
/*
 * dragoman_nodes.h: the nodes of the boot tree that Dragoman itself reads.
 *
 * /dragoman is its configuration (kernel/config.h); /dragoman-images names the memory of the files
 * that it builds guests from again (kernel/images.h).
 */
#ifndef DRAGOMAN_TOOLS_DRAGOMAN_NODES_H
#define DRAGOMAN_TOOLS_DRAGOMAN_NODES_H

#include "load_plan.h"

/* Adds both, or ends the tool. */
void dragoman_nodes_add(void *tree, const struct machine_config *machine,
                        const struct guest_config *guests, size_t guest_count,
                        const struct load_plan *plan);

#endif
