/* SPDX-License-Identifier: MIT */
/* board: each disk's controller as a device of a board's tree */
#ifndef SIM_MACHINE_BOARD_H
#define SIM_MACHINE_BOARD_H

#include <sim/machine/machine.h>

#include <dragoman/drivers/device_env.h>

/* Sets registers and tag of `env`, as the kernel reads them from the tree of a board whose device
 * has `tag`, and its registers, `bytes` long, at the address `registers`. */
void board_attach(struct dgm_device_env *env, const struct dgm_dma_tag *tag, uint64_t registers,
                  uint64_t bytes);

#endif
