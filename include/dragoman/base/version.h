/* SPDX-License-Identifier: MIT */
/*
 * version: which Dragoman this is
 *
 * The only place that names it: the domain's first log line, `./dragoman --version` and dragoman.pc
 * take it from here. Semantic versioning; before 1.0.0 a minor version may change any interface.
 */
#ifndef DRAGOMAN_BASE_VERSION_H
#define DRAGOMAN_BASE_VERSION_H

#define DGM_VERSION "0.1.0"

#endif
