#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_machine.sh: the tool that watches a boot parses the shared console and never reports a failed boot as good. A
# script that prints a recorded console replaces QEMU. If this breaks, `./dragoman run` may pass when it should fail.
#
# Needs the built tool; speaks TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='machine'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
tool=$PWD/build/host/tools/machine
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# boot NAME STATUS [OPTION]...: runs ./qemu, which the caller has written, and checks the status.
boot() {
    name=$1 wanted=$2
    shift 2
    "$tool" --log log --results results "$@" -- sh ./qemu >out 2>messages </dev/null
    status=$?
    if [ $status = "$wanted" ]; then verdict ok "$name"; else
        verdict "status $status, not $wanted: $(tail -n 1 messages)" "$name"
    fi
}

# expect NAME LINE: the results hold exactly this line.
expect() {
    if grep -qxF -- "$2" results; then verdict ok "$1"; else
        verdict "the results have: $(tr '\n' ';' <results)" "$1"
    fi
}

cat >qemu <<'END'
printf '(XEN) Xen version 4.20.0 (Debian 4.20.0-1)\r\n'
printf 'dragoman: boot\n'
printf '(XEN) DOM1: @dragoman started 6.12\r\n(XEN) DOM12: @dragoman fail xvda too late\r\n'
printf 'half a line of dom0(XEN) DOM1: @dragoman sum xvda abc\r\n'
printf 'dragoman: counter requests 12\ndragoman: counter foreign_live 0\n'
printf 'dragoman: end poweroff\n'
END
boot "a good end" 0
expect "a guest's words" 'guest 1 started 6.12'
expect "a guest with two digits" 'guest 12 fail xvda too late'
expect "a guest's line in the middle of Dom0's" 'guest 1 sum xvda abc'
expect "a counter" 'counter requests 12'
expect "the end" 'end poweroff'
if [ "$(sed -n 's/^half a line.*/half/p' log)" = half ]; then verdict ok "the log has it all"; else
    verdict "it has not" "the log has it all"
fi

echo "echo dragoman: boot" >qemu
boot "an end without a report is no good end" 1

echo "printf 'dragoman: end poweroff'" >qemu
boot "a last line without a line end counts" 0

cat >qemu <<'END'
printf 'dragoman: panic: assert x > 0 (a.c:1)\n'
printf 'dragoman: end poweroff\n'
END
boot "a panic is no good end, whatever follows" 1
expect "the panic's text" 'panic assert x > 0 (a.c:1)'

printf "printf '(XEN) Panic on CPU 0:\\\\r\\\\n'; sleep 60\n" >qemu
boot "Xen's panic ends the wait" 1

echo "sleep 60" >qemu
boot "the time limit" 1 --timeout 1
expect "the time limit is reported" 'trouble the time is up'

echo "echo dragoman: end poweroff; exit 3" >qemu
boot "a failing QEMU" 1
expect "QEMU's status is reported" 'trouble QEMU ended with status 3'

printf "printf '(XEN) DOM1: dragoman: end poweroff\\\\r\\\\n'\n" >qemu
boot "a guest cannot speak for the domain" 1

cat >qemu <<'END'
printf 'dragoman: guest 2 (db): xvda is nvme0\ndragoman: guest 12 (a) b) was destroyed\n'
printf 'dragoman: guest 2 (db) crashed\ndragoman: end poweroff\n'
END
boot "guests that end" 0
expect "how a guest ended" 'gone 2 crashed'

cat >qemu <<'END'
printf '(XEN) ****\r\n(XEN) Panic on CPU 0:\r\n(XEN) Could not set up domain domU1 (rc = -12)\r\n'
END
boot "a panic of Xen is no good end" 1
expect "its reason is reported" 'xen-panic Could not set up domain domU1 (rc = -12)'

cat >qemu <<'END'
printf 'dragoman: boot\n(XEN) DOM2: @dragoman busy\r\n'
read -r words
printf 'dragoman: end %s\n' "$words"
END
boot "words are typed when the console says something" 0 --timeout 600 \
    --when '@dragoman busy=poweroff'

# The switch of the input: three Ctrl-A at a time until Xen names guest 1, then the user's words.
cat >qemu <<'END'
printf '(XEN) DOM1: @dragoman shell\r\n'
head -c 3 >first
printf '(XEN) *** Serial input to Xen\r\n'
head -c 3 >second
printf '(XEN) *** Serial input to DOM1\r\n'
read -r empty
printf '(XEN) / # '
read -r words
printf '%s\r\n(XEN) heard %s\r\n(XEN) @dragoman done\r\n' "$words" "$words"
printf 'dragoman: end poweroff\n'
END
printf 'hello\n' >input
"$tool" --log log --results results --timeout 600 --interactive -- sh ./qemu >out 2>messages <input
status=$?
if [ $status = 0 ]; then verdict ok "an interactive run ends well"; else
    verdict "status $status: $(tail -n 1 messages)" "an interactive run ends well"
fi
if [ "$(tr -d '\r' <out)" = "/ # hello
heard hello" ]; then
    verdict ok "the user sees the guest's own words only"
else
    verdict "sees: $(cat -A out | tr '\n' ';')" "the user sees the guest's own words only"
fi
if [ "$(od -An -tx1 second | tr -d ' ')" = 010101 ]; then
    verdict ok "the switch is sent again until it is the guest's turn"
else
    verdict "no second switch" "the switch is sent again until it is the guest's turn"
fi

# The user's own keys: Ctrl-T asks for Dragoman's monitor, whose line is edited here; three Ctrl-A are Xen's switch.
cat >qemu <<'END'
printf '(XEN) *** Serial input to DOM1\r\n(XEN) DOM1: @dragoman shell\r\n'
read -r empty
head -c 3 >first
printf '(XEN) *** Serial input to DOM0\r\n'
read -r words
printf 'dragoman: heard %s\n' "$words"
head -c 3 >second
printf '(XEN) *** Serial input to DOM1\r\n'
head -c 3 >third
printf '(XEN) *** Serial input to Xen\r\n'
read -r more
printf '(XEN) DOM1: @dragoman done\r\n'
printf 'dragoman: end poweroff\n'
END
rm -f log
# Each group of keys waits until the machine has seen the one before.
{
    until grep -q shell log 2>/dev/null; do sleep 0.1; done
    printf '\024'
    until grep -q 'to DOM0' log; do sleep 0.1; done
    printf 'stax\177tus\r'
    until grep -q heard log; do sleep 0.1; done
    printf '\024'
    until grep -q 'heard.*' log && [ "$(grep -c 'to DOM1' log)" = 2 ]; do sleep 0.1; done
    printf '\001\001\001'
    until grep -q 'to Xen' log; do sleep 0.1; done
    printf 'h\n'
} | "$tool" --log log --results results --timeout 600 --interactive -- sh ./qemu >out 2>messages
status=$?
if [ $status = 0 ]; then verdict ok "Ctrl-T and Ctrl-A: the run ends well"; else
    verdict "status $status: $(tail -n 1 messages)" "Ctrl-T and Ctrl-A: the run ends well"
fi
if grep -q 'dragoman: heard status' log; then verdict ok "a line for the monitor is edited before it is sent"; else
    verdict "$(grep heard log)" "a line for the monitor is edited before it is sent"
fi
if [ "$(cat first second third | od -An -tx1 | tr -d ' ')" = 010101010101010101 ]; then
    verdict ok "Ctrl-T switches to the monitor and back, and a user's Ctrl-A stays"
else
    verdict "$(cat first second third | od -An -tx1)" "Ctrl-T switches to the monitor and back, and a user's Ctrl-A stays"
fi
if grep -q "Dragoman's monitor: 'help'" out; then verdict ok "the monitor is announced"; else
    verdict "not in the output" "the monitor is announced"
fi

# A program's keys: from a named pipe, as they are, from several writers after each other.
mkfifo pipe
cat >qemu <<'END'
stty raw -echo 2>/dev/null
echo 'dragoman: ready'
head -c 6 >typed
printf 'dragoman: end poweroff\n'
END
{
    until grep -q ready log; do sleep 0.1; done
    printf 'q\001\001' >pipe
    printf 'xy\r' >pipe
} &
boot "keys from a pipe: the run ends well" 0 --timeout 600 --keys pipe
wait
if [ "$(od -An -tx1 typed | tr -d ' ')" = 71010178790d ] || [ "$(od -An -tx1 typed | tr -d ' ')" = 71010178790a ]; then
    verdict ok "keys from a pipe are typed as they are"
else
    verdict "$(od -An -tx1 typed)" "keys from a pipe are typed as they are"
fi
plan
