/* SPDX-License-Identifier: MIT */
/*
 * guest_keys.h: the keys of a guest's configuration: honoured, without effect, or refused.
 *
 * A key that Dragoman does not honour is never ignored silently. It is an error if the guest would
 * get something else than its configuration says: another device, another boot, other CPUs or
 * memory, another label. Any other key is named in a warning.
 */
#ifndef DRAGOMAN_TOOLS_GUEST_KEYS_H
#define DRAGOMAN_TOOLS_GUEST_KEYS_H

#include "config_text.h"

/* Warns of each key without effect; ends the tool at a key that is refused or given twice. */
void guest_keys_check(const struct config_text *text);

#endif
