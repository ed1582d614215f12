# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# run-checks.sh: what run.sh does after the boot. Sourced by it, with its variables.
#
# Nothing that the domain says is taken on trust: a guest compares what it read back with what it
# wrote, and the host looks at the disk's image itself. Each trouble is told with the place where it
# was found, and counted; the caller decides by the count.

# shellcheck disable=SC2154  # dir, boot_status, check, guests, disks, mib: run.sh's

troubles=0
trouble() {
    printf 'FAILED: %s\n' "$*" >&2
    troubles=$((troubles + 1))
}

# What went wrong with the boot itself.
check_boot() {
    [ "$boot_status" -ne 0 ] || return 0
    reason=$(sed -n 's/^panic /Dragoman panicked: /p; s/^xen-panic /Xen said: /p; s/^trouble //p' \
        "$dir/results" | head -n 1)
    if [ -z "$reason" ]; then
        reason="the machine ended without Dragoman's 'end poweroff'"
    fi
    trouble "$reason"
    if grep -q '^panic\|^xen-panic' "$dir/results"; then
        tr -d '\r' <"$dir/console.log" | sed -n '/dragoman: panic/,$p' | head -n 40 >&2
    fi
}

# What the guests found wrong: "guest N fail PLACE TEXT", the place being a disk or "-".
check_guests() {
    sed -n 's/^guest \([0-9]*\) fail - /guest \1: /p
            s/^guest \([0-9]*\) fail \([^ ]*\)/guest \1, \2:/p' \
        "$dir/results" >"$dir/guest-failures"
    while read -r line; do trouble "$line"; done <"$dir/guest-failures"
}

# How to look at the disks of guest $1: files, sums or none.
check_of() {
    case $check-$(task_of "$1") in
    verify-verify | files-*) echo files ;;
    sums-*) echo sums ;;
    *) echo none ;;
    esac
}

# The sum over the data that a guest wrote to an image, and their size. $1 image, $2 files or sums.
image_sum_and_size() {
    if [ "$2" = files ]; then
        debugfs -R "dump /data $1.data" "$1" >"$1.debugfs" 2>&1 || true
    else
        head -c $((mib * 1048576)) "$1" >"$1.data"
    fi
    if [ -f "$1.data" ]; then
        printf '%s %s\n' "$(sha256sum <"$1.data" | cut -d ' ' -f 1)" "$(stat -c %s "$1.data")"
        rm -f "$1.data"
    else
        echo none 0
    fi
}

# $1 guest, $2 vdev, $3 image, $4 files or sums.
check_disk() {
    sum=$(sed -n "s/^guest $1 sum $2 //p" "$dir/results" | tail -n 1)
    if [ "$4" = files ] && ! e2fsck -fn "$3" >"$3.e2fsck" 2>&1; then
        trouble "guest $1, $2: e2fsck finds errors in the image ($3.e2fsck)"
    fi
    if [ -z "$sum" ]; then
        grep -q "^guest $1 fail $2 " "$dir/results" ||
            trouble "guest $1, $2: the guest did not come to comparing its sums"
        return
    fi
    found=$(image_sum_and_size "$3" "$4")
    size=${found#* }
    found=${found%% *}
    if [ "$found" != "$sum" ]; then
        trouble "guest $1, $2: the guest's sum is $sum, that of the image's data $found"
    elif [ "$size" -ne $((mib * 1048576)) ]; then
        trouble "guest $1, $2: the image's file has $size bytes, $mib MiB were to be written"
    elif [ "$4" = files ]; then
        echo "guest $1, $2: file system clean, $mib MiB with the same SHA-256 in guest and image"
    else
        echo "guest $1, $2: $mib MiB with the same SHA-256 in guest and image"
    fi
}

check_disks() {
    n=0
    while [ $n -lt $((guests * disks)) ]; do
        how=$(check_of $((n / disks + 1)))
        [ "$how" = none ] ||
            check_disk $((n / disks + 1)) "xvd$(letter $((n % disks)))" "$dir/disk$n.img" "$how"
        n=$((n + 1))
    done
}

counter() { sed -n "s/^counter $1 //p" "$dir/results" | tail -n 1; }

check_counters() {
    if ! grep -q '^counter ' "$dir/results"; then
        trouble "Dragoman printed no counters"
        return
    fi
    # What must be given back by the end; a counter that an image does not have is not looked at,
    # but foreign_live must be there.
    live=$(counter foreign_live)
    [ "$live" = 0 ] || trouble "foreign frames still mapped at the end: ${live:-not told}"
    for name in slots_taken p2m_live bounce_taken; do
        live=$(counter $name)
        [ "${live:-0}" = 0 ] || trouble "not given back at the end: $name is $live"
    done
    errors=$(counter io_errors)
    # A disk that was asked to be bad makes requests fail, as it should.
    [ "${errors:-0}" = 0 ] || [ -n "$bad_sector" ] || trouble "$errors requests ended in an I/O error"
}

# The few counters that tell the story; all of them are in the results file.
show_counters() {
    awk '
        function row(label, name) {
            if (name in value) printf "  %-42s %14s\n", label, value[name]
        }
        $1 == "counter" { value[$2] = $3; count++ }
        END {
            if (count == 0) exit
            print "\nDragoman counted"
            row("requests", "requests")
            row("bytes read by guests", "bytes_read")
            row("bytes written by guests", "bytes_written")
            row("foreign frames mapped", "foreign_mapped")
            row("bytes by DMA straight to foreign frames", "dma_direct_bytes")
            row("bytes bounced", "dma_bounced_bytes")
            row("requests that failed", "io_errors")
            row("hypercalls", "hypercalls")
            if (value["requests"] > 0 && "hypercalls" in value)
                printf "  %-42s %14.2f\n", "hypercalls per request",
                    value["hypercalls"] / value["requests"]
            row("foreign frames still mapped at the end", "foreign_live")
        }' "$dir/results"
}
