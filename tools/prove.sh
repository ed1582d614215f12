#!/bin/sh
# SPDX-License-Identifier: MIT
#
# prove.sh: `./dragoman prove`: the proofs of proofs/, two or more at a time. See docs/proofs.md.
#
# A proof is proofs/NAME.c (a harness for the CBMC model checker, over the sources that ship) or
# proofs/NAME.pml (a Spin model). Its first comment has lines that are read here:
#
#   sources: FILE...             linked with the harness
#   options: OPTION...           for cbmc: its bounds
#   defines: OPTION...           for the compiler
#   resized: HEADER SCRIPT       a sed script over a copy of HEADER, for smaller tables
#   planted: FILE SCRIPT         a sed script that plants a mistake in a copy of FILE (C)
#   planted: OPTION...           for the compiler, to have a broken variant (Spin)
#
# A proof passes if it holds for the shipped sources and fails for every planted mistake. The solver's time is limited
# in seconds of CPU time, so a busy machine changes no verdict. If a solver reaches the limit, the verdict is that it
# ran out of time, which fails the run too.

set -eu

usage() {
    cat <<'END'
Usage: ./dragoman prove [-y] [NAME...]
       ./dragoman prove --trace NAME

Proves properties of the library's sources (CBMC) and of its protocols (Spin), and shows of each
proof that it fails when a mistake is planted. Prints TAP.

  --trace NAME  how the proof fails, step by step
  NAME...       these proofs only
  -y            install missing packages without asking
END
}

fail() {
    printf 'dragoman prove: %s\n' "$1" >&2
    printf "Try './dragoman prove --help'.\n" >&2
    exit 2
}

cd "$(dirname -- "$0")/.."
work=build/proofs
cpu_seconds_max=3600 # for each run of a solver: many times what the slowest needs
out_of_time=152     # the status of a command that SIGXCPU ended

# $@ a command: runs it with the limit on its CPU time.
limited() {
    prlimit --cpu="$cpu_seconds_max:" "$@"
}

# $1 the proof's file, $2 the word: what follows it, one line for each time that it is there.
said() {
    sed -n "s|^ \* $2: ||p" "$1"
}

# --- CBMC, with its own loader and C library ---

checks='--bounds-check --pointer-check --pointer-primitive-check --div-by-zero-check
    --signed-overflow-check --undefined-shift-check --unwinding-assertions'

checker() {
    tool=$1
    shift
    "$CBMC_DIR/loader" --library-path "$CBMC_DIR/libraries:$CBMC_DIR/usr/lib" "$CBMC_DIR/usr/bin/$tool" "$@"
}

# $1 the proof, $2 a directory of the run: compiles into it. A source that lies there wins.
c_compile() {
    harness=proofs/$1.c
    sources=
    said "$harness" resized | while read -r header script; do
        mkdir -p "$2/$(dirname "${header#include/}")"
        sed -E "$script" "$header" >"$2/${header#include/}"
    done
    for source in $(said "$harness" sources); do
        [ ! -e "$2/$source" ] || source=$2/$source
        sources="$sources $source"
    done
    # shellcheck disable=SC2046,SC2086  # lists of words on purpose
    checker goto-cc -std=gnu17 -I "$2" -I "$2/include" -I proofs/port -I include -I . \
        -isystem build/xen-headers -D__XEN_TOOLS__=1 $(said "$harness" defines) \
        "$harness" $sources -o "$2/proof.gb"
}

# $1 the proof, $2 the directory of a run, then more options. The checker's status: 0 holds, 10 not, or
# $out_of_time.
c_check() {
    run=$2
    harness=proofs/$1.c
    shift 2
    # shellcheck disable=SC2046,SC2086
    limited "$CBMC_DIR/loader" --library-path "$CBMC_DIR/libraries:$CBMC_DIR/usr/lib" \
        "$CBMC_DIR/usr/bin/cbmc" $checks $(said "$harness" options) "$@" "$run/proof.gb"
}

# The statuses of c_holds and spin_holds: 0 holds, $out_of_time, or another: does not hold.
c_holds() {
    c_compile "$1" "$2" >"$2/log" 2>&1 || return 1
    c_check "$1" "$2" >>"$2/log" 2>&1
}

# $1 the proof, $2 the directory, $3 the line behind "planted:". 0: the mistake was found; $out_of_time.
c_finds() {
    file=${3%% *}
    mkdir -p "$2/$(dirname "$file")"
    sed -E "${3#* }" "$file" >"$2/$file" || return 1
    if cmp -s "$file" "$2/$file"; then
        printf 'the planted mistake no longer applies\n' >"$2/log"
        return 1
    fi
    c_compile "$1" "$2" >"$2/log" 2>&1 || return 1
    status=0
    c_check "$1" "$2" --stop-on-fail >>"$2/log" 2>&1 || status=$?
    [ $status != $out_of_time ] || return $out_of_time
    # A bound that was too low is not a mistake found.
    [ $status = 10 ] && ! sed -n '/^Violated property/,$p' "$2/log" | grep -q 'unwinding assertion'
}

# --- Spin ---

# $1 the model, $2 the directory, then options for the compiler. 0: no error in any order of events.
spin_holds() {
    model=$PWD/proofs/$1.pml
    run=$2
    shift 2
    (
        cd "$run"
        spin "$@" -a "$model" && gcc -O2 -w -DSAFETY -DVECTORSZ=4096 -o pan pan.c &&
            limited ./pan -m1000000
    ) >"$run/log" 2>&1 || return $?
    grep -q 'errors: 0' "$run/log" &&
        ! grep -q 'search not completed\|max search depth too small\|out of memory' "$run/log"
}

# $3: the options of the broken variant. 0: it is found broken.
spin_finds() {
    status=0
    # shellcheck disable=SC2086
    spin_holds "$1" "$2" $3 || status=$?
    [ $status != $out_of_time ] || return $out_of_time
    [ $status != 0 ] && grep -q 'errors: [1-9]' "$2/log"
}

# --- one proof ---

# $1 the proof, $2 what was checked, $3 the status, $4 what that status means unless it is time, $5 the log.
say_failure() {
    if [ "$3" = $out_of_time ]; then
        printf 'not ok - %s: %s ran out of time: undecided after %d s of CPU time (see %s)\n' "$1" "$2" \
            $cpu_seconds_max "$5"
    else
        printf 'not ok - %s: %s %s (see %s)\n' "$1" "$2" "$4" "$5"
    fi
}

# $1 its name: one line of TAP without the number, then words for people.
prove_one() {
    name=$1
    kind=spin file=proofs/$name.pml
    if [ -e "proofs/$name.c" ]; then kind=c file=proofs/$name.c; fi
    rm -rf "${work:?}/$name"
    mkdir -p "$work/$name/ships"
    start=$(date +%s)
    verdict=0
    printf '# %s: whether it holds\n' "$name" >&2
    "${kind}_holds" "$name" "$work/$name/ships" || verdict=$?
    if [ $verdict != 0 ]; then
        say_failure "$name" 'the proof' $verdict 'does not hold' "$work/$name/ships/log"
        return
    fi
    held=$(($(date +%s) - start))
    count=0
    said "$file" planted >"$work/$name/planted"
    total=$(wc -l <"$work/$name/planted")
    while read -r planted; do
        count=$((count + 1))
        mkdir -p "$work/$name/planted-$count"
        printf '# %s: it holds; whether it finds planted mistake %d of %d\n' "$name" $count "$total" >&2
        "${kind}_finds" "$name" "$work/$name/planted-$count" "$planted" || verdict=$?
        if [ $verdict != 0 ]; then
            say_failure "$name" "planted mistake $count" $verdict 'is not found' \
                "$work/$name/planted-$count/log"
            return
        fi
    done <"$work/$name/planted"
    if [ $count = 0 ]; then
        printf 'not ok - %s: no mistake is planted that it could find\n' "$name"
        return
    fi
    printf 'ok - %s: holds (%d s), and finds %d planted mistakes (%d s)\n' "$name" $held $count \
        $(($(date +%s) - start - held))
}

# --- all of them ---

all=
for file in proofs/*.c proofs/*.pml; do
    [ -e "$file" ] || continue
    name=$(basename "$file")
    all="$all ${name%.*}"
done

mode=run
yes=
names=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        printf '\nProofs:%s\n' "$all"
        exit 0
        ;;
    -y) yes=-y ;;
    --trace) mode=trace ;;
    --one) mode=one ;;
    -*) fail "unknown option '$1'" ;;
    *) names="$names $1" ;;
    esac
    shift
done
for name in $names; do
    case "$all " in
    *" $name "*) ;;
    *) fail "there is no proof '$name' (there are:$all)" ;;
    esac
done

if [ $mode = one ]; then
    # shellcheck disable=SC2086  # one word
    prove_one $names
    exit 0
fi

# shellcheck disable=SC2086  # no word, or one
tools/setup/packages.sh --tests $yes
tools/setup/parts.sh --proofs --write build/parts.mk
CBMC_DIR=$(sed -n 's/^CBMC_DIR=//p' build/parts.mk)
export CBMC_DIR
make --no-print-directory build/xen-headers/xen

if [ $mode = trace ]; then
    # shellcheck disable=SC2086
    set -- $names
    if [ $# != 1 ] || [ ! -e "proofs/$1.c" ]; then
        fail "'--trace' needs the name of one harness in C"
    fi
    mkdir -p "$work/$1/ships"
    c_compile "$1" "$work/$1/ships"
    c_check "$1" "$work/$1/ships" --trace --stop-on-fail
    exit $?
fi

# Each line gets its number as it comes; silence of a proof is seen in the plan.
# shellcheck disable=SC2086  # a list of words on purpose
set -- ${names:-$all}
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 tools/prove.sh --one | {
    number=0 failed=0
    while read -r line; do
        number=$((number + 1))
        case $line in 'not ok'*) failed=1 ;; esac
        printf '%sok %d - %s\n' "${line%%ok - *}" $number "${line#*ok - }"
    done
    printf '1..%d\n' $#
    [ $failed = 0 ] && [ $number = $# ]
}
