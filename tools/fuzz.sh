#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fuzz.sh: `./dragoman fuzz`: builds the fuzz targets and runs each for a while.
#
# Inputs that reach new edges go to build/fuzz/corpus/NAME, which grows from run to run; an input
# that crashes goes to build/fuzz/crashes/NAME, and the message names the command that replays it.

set -eu

program='dragoman fuzz'
# shellcheck source=tools/lib.sh
. "$(dirname -- "$0")/lib.sh"

usage() {
    cat <<'END'
Usage: ./dragoman fuzz [-y] [--seconds N] [NAME...]
       ./dragoman fuzz --replay NAME FILE
       ./dragoman fuzz --minimise [NAME...]

Feeds random inputs, guided by coverage, to the code that reads data of guests and devices.

  --seconds N  how long each target runs (60)
  --replay     runs one target on one saved input
  --minimise   reduces the inputs found to the fewest that reach all edges, into fuzz/corpus
  NAME...      only these targets
  -y           install missing packages without asking
END
}

cd "$(dirname -- "$0")/.."
all=
for source in fuzz/*.c; do
    name=$(basename "$source" .c)
    [ "$name" = replay ] || all="$all $name"
done

seconds=60 mode=run yes=
names=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        printf '\nTargets:%s\n' "$all"
        exit 0
        ;;
    -y) yes=-y ;;
    --seconds)
        [ $# -gt 1 ] || usage_error "'--seconds' needs a number"
        seconds=$2
        shift
        ;;
    --seconds=*) seconds=${1#*=} ;;
    --replay) mode=replay ;;
    --minimise) mode=minimise ;;
    -*) usage_error "unknown option '$1'" ;;
    *) names="$names $1" ;;
    esac
    shift
done
case $seconds in
'' | *[!0-9]* | 0*) usage_error "'--seconds' needs a number, not '$seconds'" ;;
esac

is_target() {
    case "$all " in
    *" $1 "*) return 0 ;;
    *) usage_error "there is no target '$1' (there are:$all)" ;;
    esac
}

# $@ targets of make.
install_and_build() {
    # shellcheck disable=SC2086  # no word, or one
    tools/setup/packages.sh --tests $yes
    build "$@"
}

build_targets() {
    files=
    for name in ${names:-$all}; do
        is_target "$name"
        files="$files build/fuzz/fuzz-$name"
    done
    # shellcheck disable=SC2086  # a list of words on purpose
    install_and_build $files
}

# $1 the target. If it crashes: its last lines, and the command that replays the input.
run_target() {
    name=$1
    mkdir -p "build/fuzz/corpus/$name" "build/fuzz/crashes/$name" "fuzz/corpus/$name"
    log=build/fuzz/$name.log
    start=$(date +%s)
    "build/fuzz/fuzz-$name" -max_total_time="$seconds" -timeout=20 -max_len=4096 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="build/fuzz/crashes/$name/" \
        "build/fuzz/corpus/$name" "fuzz/corpus/$name" >"$log" 2>&1 &
    target=$!
    for signal in 1 2 3 15; do
        # shellcheck disable=SC2064  # the number of this signal
        trap "kill $target 2>/dev/null; exit $((128 + signal))" $signal
    done
    while kill -0 $target 2>/dev/null; do
        if [ -t 1 ]; then
            printf '\r%-10s %3d s of %d s  %s\033[K' "$name" $(($(date +%s) - start)) "$seconds" \
                "$(sed -n 's/^#\([0-9]*\)\t.*cov: \([0-9]*\) .*/\1 inputs, \2 edges/p' "$log" | tail -1)"
        fi
        [ -t 1 ] || [ $((($(date +%s) - start) % 10)) != 9 ] ||
            printf '%s: %d s of %d s\n' "$name" $(($(date +%s) - start)) "$seconds"
        sleep 1
    done
    trap - HUP INT QUIT TERM
    [ ! -t 1 ] || printf '\r\033[K'
    if wait $target; then
        printf '%-10s %s inputs in %s s, %s a second, %s edges reached\n' "$name" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
            $(($(date +%s) - start)) \
            "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" \
            "$(sed -n 's/.*cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)"
        return 0
    fi
    artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
    printf '%-10s CRASHED\n' "$name"
    grep -E '^SUMMARY|ERROR:|runtime error|^[a-z_/]+\.[ch]:[0-9]+: ' "$log" | head -5
    printf '  the whole report: %s\n' "$log"
    [ -z "$artifact" ] || printf '  to replay it:     ./dragoman fuzz --replay %s %s\n' \
        "$name" "$artifact"
    return 1
}

case $mode in
replay)
    # shellcheck disable=SC2086  # two words
    set -- $names
    [ $# = 2 ] || usage_error "'--replay' needs a target and a file"
    is_target "$1"
    file=$2
    [ -r "$file" ] || file=${DRAGOMAN_CALLER_DIR:-.}/$2
    [ -r "$file" ] || usage_error "cannot read '$2'"
    install_and_build "build/host/fuzz/$1"
    exec "build/host/fuzz/$1" "$1" "$file"
    ;;
minimise)
    # The fewest inputs that reach every edge that any of them reaches.
    build_targets
    for name in ${names:-$all}; do
        new=build/fuzz/minimised/$name
        rm -rf "$new"
        mkdir -p "$new" "build/fuzz/corpus/$name" "fuzz/corpus/$name"
        "build/fuzz/fuzz-$name" -set_cover_merge=1 -use_counters=0 -max_len=4096 \
            "$new" "build/fuzz/corpus/$name" "fuzz/corpus/$name" >"build/fuzz/$name.log" 2>&1
        rm -f "fuzz/corpus/$name"/*
        cp "$new"/* "fuzz/corpus/$name/"
        printf '%s: %d inputs\n' "$name" "$(find "$new" -type f | wc -l)"
    done
    ;;
run)
    build_targets
    # The corpora and logs of two runs in one clone would mix.
    lock build/fuzz/lock "another command fuzzes in this clone; waiting until it ends"
    status=0
    for name in ${names:-$all}; do
        run_target "$name" || status=1
    done
    exit $status
    ;;
esac
