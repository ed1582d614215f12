#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_bench_io.sh: what bench/io computes, draws and refuses; see bench_io.py. The machines themselves are not booted.

exec python3 -B "$(dirname -- "$0")/bench_io.py"
