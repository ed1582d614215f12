#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_bench_net.sh: options, command lines and figures of bench/net without a machine (bench_net.py), and its traffic
# between two processes of the host.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
status=0
python3 -B tests/tools/bench_net.py || status=1

make --no-print-directory -s build/bench/net/traffic
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
build/bench/net/traffic serve "$port" &
served=$!
failed=
for work in 'udp-rr 64 100' 'udp-send 1400 100' 'tcp-send 65536 1000' 'tcp-receive 65536 1000'; do
    # shellcheck disable=SC2086  # words on purpose
    done=$(build/bench/net/traffic 127.0.0.1 "$port" $work)
    [ "$done" = "${work##* }" ] || failed="$failed, $work: $done"
done
build/bench/net/traffic 127.0.0.1 "$port" end
wait $served || failed="$failed, the other end failed"
if [ -z "$failed" ]; then
    echo 'ok 6 - bench_net: every kind of traffic'
else
    echo "not ok 6 - bench_net: every kind of traffic$failed"
    status=1
fi
exit $status
