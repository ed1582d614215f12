#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_docs.sh: links, commands, files, tests and counters that the documents name exist; see docs.py.

exec python3 "$(dirname -- "$0")/docs.py"
