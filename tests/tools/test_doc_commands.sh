#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_doc_commands.sh: every command that the documents show is run, here or by a test; see doc_commands.py.

exec python3 -B "$(dirname -- "$0")/doc_commands.py"
