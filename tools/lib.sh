# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# lib.sh: the functions that several scripts share. A script sets `program` to the beginning of its messages, and
# sources this file.

# shellcheck disable=SC2154  # program: the script's own

# The output of other programs is parsed in many places, so their messages must not be translated.
export LC_ALL=C

# A standard stream that the caller has closed is /dev/null: the next file that is opened must not become one.
{ command : 3<&0; } 2>/dev/null || exec </dev/null
{ command : 3>&1; } 2>/dev/null || exec >/dev/null
command : 3>&2 || exec 2>/dev/null

# $1 the message; the command line is wrong.
usage_error() {
    printf '%s: %s\n' "$program" "$1" >&2
    printf "Try './%s --help'.\n" "$program" >&2
    exit 2
}

say() { printf '%s: %s\n' "$program" "$*" >&2; }

# $1 the message, then further lines, such as the cure.
fail() {
    printf '%s: %s\n' "$program" "$1" >&2
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit 1
}

# check_number OPTION VALUE LEAST MOST
check_number() {
    case $2 in
    '' | *[!0-9]* | 0?* | ???????????*) usage_error "$1 needs a number, not '$2'" ;;
    esac
    { [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]; } || usage_error "$1 $2: must be from $3 to $4"
}

# check_choice OPTION VALUE CHOICE...
check_choice() {
    choice_option=$1 choice_value=$2
    shift 2
    for choice in "$@"; do [ "$choice_value" != "$choice" ] || return 0; done
    usage_error "$choice_option '$choice_value': must be one of: $*"
}

# A file name of the command line as the caller meant it: the scripts work in the top directory.
absolute() {
    case $1 in
    /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "${DRAGOMAN_CALLER_DIR:-$PWD}" "$1" ;;
    esac
}

# The room on the file system of a directory.
free_mib() { df -Pk -- "$1" | awk 'NR == 2 { printf "%d", $4 / 1024 }'; }

# require_space DIRECTORY MIB WHAT-FOR [CURE]: ends the script when the file system has less room.
require_space() {
    space_mib=$(free_mib "$1")
    [ "$space_mib" -ge "$2" ] || fail \
        "$3 needs $2 MiB in $1, and its file system has $space_mib MiB left." \
        "${4:-Make room there, and run the same command again.}"
}

# require_writable DIRECTORY [CURE]: makes the directory; ends the script when it cannot be written.
require_writable() {
    mkdir -p -- "$1" 2>/dev/null || fail "cannot make the directory $1: $(cause_of_mkdir "$1")." "${2-}"
    [ -w "$1" ] || fail "cannot write to the directory $1." "${2-}"
}

cause_of_mkdir() {
    mkdir -p -- "$1" 2>&1 | sed -n '1s/.*: //p'
}

# --- one command at a time in this clone ---

# lock FILE WAITING-TEXT: waits until no other command holds the lock. The lock is held on file
# descriptor 8 until unlock, or until this script and all its children have ended.
# DRAGOMAN_LOCKED says that a command that started this one holds it already.
lock() {
    [ -z "${DRAGOMAN_LOCKED:-}" ] || return 0
    lock_text=$2
    while
        require_writable "$(dirname "$1")"
        exec 8>"$1"
        if ! flock -n 8; then
            [ -z "$lock_text" ] || say "$lock_text"
            lock_text=
            flock 8
        fi
        # `clean`, which held the lock, has removed the file. shellcheck disable=SC3013 # dash has -ef
        ! [ "$1" -ef /dev/fd/8 ]
    do :; done
}

unlock() {
    [ -n "${DRAGOMAN_LOCKED:-}" ] || exec 8>&-
}

lock_build() {
    lock build/lock "another command builds in this clone; waiting until it ends"
}

# make, which every command runs this way.
build() {
    lock_build
    require_space build 100 "building"
    # The compiler's temporary files.
    [ ! -d "${TMPDIR:-/tmp}" ] || require_space "${TMPDIR:-/tmp}" 50 "building" \
        "Make room there, or set TMPDIR to a directory on another file system."
    make -s --no-print-directory -j"$(nproc)" "$@" >&2
    unlock
}

# --- signals ---

# The living processes that descend from process $1, itself included; but none below apt-get: it ends
# its own children, and dpkg must complete what it has begun.
process_tree() {
    # The second field is a name in parentheses, which may hold anything; then state and parent.
    cat /proc/[0-9]*/stat 2>/dev/null | sed -n 's/^\([0-9]*\) (\(.*\)) [^ZX] \([0-9]*\) .*/\1 \3 \2/p' |
        awk -v root="$1" '
            { parent[$1] = $2; name[$1] = $3 }
            END {
                for (pid in parent) {
                    at = pid
                    while (at in parent && at != root && name[parent[at]] != "apt-get") at = parent[at]
                    if (at == root) print pid
                }
            }'
}

# Those of the processes that still live.
living() {
    for pid in "$@"; do
        grep -q '^[0-9]* (.*) [^ZX] ' "/proc/$pid/stat" 2>/dev/null && printf '%s\n' "$pid"
    done
    return 0
}

# A signal ends this script by exit, so that a trap on EXIT can clean up.
exit_on_signals() {
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 131' QUIT
    trap 'exit 143' TERM
}

# run_guarded COMMAND...: runs the command and returns its status. A signal that ends this script
# ends the command first, and all that it started. Without this, a shell waits for its command
# (SIGINT) or leaves it behind (SIGTERM, SIGHUP).
run_guarded() {
    trap 'end_guarded 1' HUP
    trap 'end_guarded 2' INT
    trap 'end_guarded 3' QUIT
    trap 'end_guarded 15' TERM
    # A background command gets /dev/null as its standard input unless it is passed another way.
    exec 3<&0
    "$@" <&3 3<&- &
    guarded=$!
    exec 3<&-
    guarded_status=0
    wait $guarded || guarded_status=$?
    exit_on_signals
    return $guarded_status
}

# $1 the signal that this script received. The processes have 20 s to clean up.
end_guarded() {
    trap '' HUP INT QUIT TERM
    set +e # a process may end before it is signalled
    tree=$(process_tree "$guarded")
    # shellcheck disable=SC2046,SC2086  # lists of words on purpose
    {
        kill -s TERM $tree 2>/dev/null
        tenths=200
        while [ $tenths -gt 0 ] && [ -n "$(living $tree)" ]; do
            sleep 0.1
            tenths=$((tenths - 1))
        done
        [ $tenths -gt 0 ] || kill -s KILL $(living $tree) 2>/dev/null
    }
    say "ended by a signal"
    exit $((128 + $1))
}
