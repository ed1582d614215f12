#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_machine.sh: the tool that watches a boot understands the shared console and never calls a bad
# end a good one. A script that prints a recorded console stands in for QEMU. If this breaks,
# `./dragoman run` may pass when it should fail.
#
# Needs the built tool; speaks TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
tool=$PWD/build/host/tools/machine
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

number=0
report() {
    number=$((number + 1))
    if [ "$1" = ok ]; then
        echo "ok $number - machine: $2"
    else
        echo "not ok $number - machine: $2 ($1)"
    fi
}

# boot NAME STATUS [OPTION]...: runs ./qemu, which the caller has written, and looks at the status.
boot() {
    name=$1 wanted=$2
    shift 2
    "$tool" --log log --results results "$@" -- sh ./qemu >out 2>messages </dev/null
    status=$?
    if [ $status = "$wanted" ]; then report ok "$name"; else
        report "status $status, not $wanted: $(tail -n 1 messages)" "$name"
    fi
}

# expect NAME LINE: the results hold exactly this line.
expect() {
    if grep -qxF -- "$2" results; then report ok "$1"; else
        report "the results have: $(tr '\n' ';' <results)" "$1"
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
if [ "$(sed -n 's/^half a line.*/half/p' log)" = half ]; then report ok "the log has it all"; else
    report "it has not" "the log has it all"
fi

echo "echo dragoman: boot" >qemu
boot "an end without a word is no good end" 1

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
expect "the time limit is told" 'trouble the time is up'

echo "echo dragoman: end poweroff; exit 3" >qemu
boot "a failing QEMU" 1
expect "QEMU's status is told" 'trouble QEMU ended with status 3'

printf "printf '(XEN) DOM1: dragoman: end poweroff\\\\r\\\\n'\n" >qemu
boot "a guest cannot speak for the domain" 1

cat >qemu <<'END'
printf 'dragoman: boot\n(XEN) DOM2: @dragoman busy\r\n'
read -r words
printf 'dragoman: end %s\n' "$words"
END
boot "words are typed when the console says something" 0 --timeout 20 \
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
"$tool" --log log --results results --timeout 20 --interactive -- sh ./qemu >out 2>messages <input
status=$?
if [ $status = 0 ]; then report ok "an interactive run ends well"; else
    report "status $status: $(tail -n 1 messages)" "an interactive run ends well"
fi
if [ "$(tr -d '\r' <out)" = "/ # hello
heard hello" ]; then
    report ok "the user sees the guest's own words only"
else
    report "sees: $(cat -A out | tr '\n' ';')" "the user sees the guest's own words only"
fi
if [ "$(od -An -tx1 second | tr -d ' ')" = 010101 ]; then
    report ok "the switch is sent again until it is the guest's turn"
else
    report "no second switch" "the switch is sent again until it is the guest's turn"
fi
echo "1..$number"
