/* SPDX-License-Identifier: MIT */
/*
 * wire: the contents of messages: paths, strings, permissions, the names of errors
 *
 * Pure functions over private copies of a guest's bytes: they read only their arguments and do not
 * use the store. Source: xen/io/xs_wire.h and docs/misc/xenstore.txt of Xen.
 */
#ifndef XENSTORE_WIRE_H
#define XENSTORE_WIRE_H

#include "tree.h"

#include <xen/io/xs_wire.h>

#define DGM_XS_TOKEN_MAX 1024 /* so that a path and a token always fit into an event */

/*
 * Splits a payload into NUL-terminated strings, at most `max`. Returns how many, or DGM_EINVAL:
 * there are more, or the last one has no NUL.
 */
int dgm_xs_wire_strings(const char *payload, size_t bytes, const char *strings[], size_t max);

/* True for an absolute path of a node, of at most DGM_XS_LEVELS_MAX names. */
bool dgm_xs_wire_path_valid(const char *path);

/*
 * The absolute form of the path `given` by `domid`, into DGM_XS_PATH_MAX bytes. DGM_OK, or
 * DGM_EINVAL: not a valid path, too long, or too deep.
 */
int dgm_xs_wire_path(domid_t domid, const char *given, char *path);

/* The home of a domain, "/local/domain/N", into at least 24 bytes; its length. */
size_t dgm_xs_wire_home(domid_t domid, char *path);

/* Parses "n1", "r2"... into perms. DGM_EINVAL: malformed; DGM_ENOSPC: too many. */
int dgm_xs_wire_perms(const char *text, size_t bytes, struct dgm_xs_perms *perms);
/* The inverse, into at least DGM_XS_PERMS_MAX * 8 bytes. Returns the length with all NULs. */
size_t dgm_xs_wire_perms_text(const struct dgm_xs_perms *perms, char *text);

/* The protocol's name for a negative status ("ENOENT"); "EINVAL" if it has none. */
const char *dgm_xs_wire_error(int status);

#endif
