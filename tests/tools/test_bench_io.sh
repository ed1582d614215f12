#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_bench_io.sh: counting, figures, charts and options of bench/io: its plugin on a QEMU of a few lines
# (bench_io_plugin.c), and its programs without a machine (bench_io.py). The machines are not booted.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
work=build/test/bench-io
rm -rf $work
mkdir -p $work
status=0
export ASAN_OPTIONS=detect_leaks=0 # QEMU keeps a translated block until it ends, and so does the plugin
make --no-print-directory -s bench-machine-test && build/bench/machine/plugin-test $work || status=1
python3 -B tests/tools/bench_io.py || status=1
exit $status
