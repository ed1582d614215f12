#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: the simulator's part of the tests, as TAP
#
# Hundreds of seeds with the library as it ships, some of them under the sanitizers; a seed has the same
# course in every build; scenarios in which each hypercall (in every mode) and each disk command fails in
# turn. A failure prints its seed, the events before it, and the command that repeats it. SEEDS=N sets another
# number than 300.

set -eu

cd "$(dirname -- "$0")/../.."
fast=build/sim/fast/dragoman-sim
asan=build/sim/asan/dragoman-sim
seeds=${SEEDS:-300}
number=0
status=0
log=build/sim/run.log

try() { # $1 name, then a command
    name=$1
    shift
    number=$((number + 1))
    if "$@" >$log 2>&1; then
        sed 's/^/# /' $log
        echo "ok $number - sim: $name"
    else
        sed 's/^/# /' $log
        echo "not ok $number - sim: $name"
        status=1
    fi
}

# shellcheck disable=SC2317  # called by try
digest() { # $1 the program, $2 a seed, then more options
    program=$1 seed=$2
    shift 2
    "$program" --seed "$seed" "$@" | sed -n 's/^digest \([0-9a-f]*\).*/\1/p'
}

# A run can be repeated only if it depends neither on the host nor on the compiler.
# shellcheck disable=SC2317  # called by try
same_story() {
    for seed in 3 7 11 50 '4 --network'; do
        # shellcheck disable=SC2086  # a seed and options
        first=$(digest "$fast" $seed) second=$(digest "$fast" $seed) third=$(digest "$asan" $seed)
        echo "seed $seed: $first $second $third"
        if [ -z "$first" ] || [ "$first $first" != "$second $third" ]; then return 1; fi
    done
}

try 'a seed has one course, in every build' same_story
try 'seeds under ASan and UBSan' $asan --seeds 1-40
try 'seeds at -O2' $fast --seeds "41-$seeds"
try 'eight guests' $fast --seeds 1-4 --guests 8 --requests 4000
try 'thirty-two guests' $fast --seeds 1-2 --guests 32 --requests 2000
try 'vifs and a network card' $fast --seeds 1-20 --network
try 'short runs with vifs' $fast --seeds 21-500 --network --requests 60
try 'vifs under ASan and UBSan' $asan --seeds 1-3 --network
try 'disks that lose their power' $fast --seeds 1-60 --power
try 'a guest beside each kind of neighbour' $fast --fairness
try 'one guest alone' $fast --seeds 1-10 --guests 1
try 'the n-th hypercall fails, once and permanently' $fast --nth hypercall --guests 1 --requests 60 --mode map
for mode in copy identity persistent; do
    try "the n-th hypercall fails, frames in mode $mode" $fast --nth hypercall --guests 1 --requests 20 --mode $mode
done
try 'the n-th hypercall fails, caches maintained by Xen' $fast --nth hypercall --seed 3 --guests 1 --requests 20
try 'the n-th disk command fails, once and permanently' $fast --nth command --guests 1 --requests 60
try 'the disk is reset at its n-th command, once and permanently' $fast --nth reset --guests 1 \
    --requests 60
rm -f $log
exit $status
