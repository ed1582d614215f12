/* SPDX-License-Identifier: MIT */
/*
 * message.h: the messages of the host tools.
 *
 * A message names the tool, the place, the cause and, if there is one, the remedy. Results go to
 * standard output, messages to standard error. die() ends the tool with status 1; die_usage() is
 * for a wrong command line and ends it with status 2.
 */
#ifndef DRAGOMAN_TOOLS_MESSAGE_H
#define DRAGOMAN_TOOLS_MESSAGE_H

/* Called once, first in main(). The name must stay valid. */
void message_tool_name(const char *name);

__attribute__((format(printf, 1, 2))) void message_warn(const char *format, ...);
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);
__attribute__((format(printf, 1, 2), noreturn)) void die_usage(const char *format, ...);

#endif
