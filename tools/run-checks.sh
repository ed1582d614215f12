# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# run-checks.sh: the checks of run.sh after the boot. Sourced by it, with its variables.
#
# The checks do not rely on the domain's reports: a guest compares the data that it read back with the written data,
# and the host examines the disk's image itself. Each error is printed with its place and counted; the caller decides
# by the count.

# shellcheck disable=SC2154  # dir, boot_status, check, guests, disks, mib: run.sh's

troubles=0
trouble() {
    printf 'FAILED: %s\n' "$*" >&2
    troubles=$((troubles + 1))
}

# The likely cause of a panic of Xen. $1 its text.
xen_panic_cause() {
    case $1 in
    *'Could not set up domain dom'*'(rc = -12)'* | *'Failed to allocate'* | *'Out of memory'*)
        echo "Xen lacks memory for that domain: the guests' and Dom0's memory do not fit into the" \
            "machine's. Give the machine more (--memory), or the guests less (--guest-mem)."
        ;;
    *'Not enough memory in the first bank'*)
        echo "The guest's memory does not hold its kernel, ramdisk and device tree: give it more" \
            "(--guest-mem)."
        ;;
    *'Could not set up domain dom'*'(rc = -22)'*)
        echo "The domain's kernel is no arm64 Image, or a file of the load plan does not lie in RAM."
        ;;
    *'Error creating domain dom'*'(rc = -22)'*)
        echo "The domain has more vCPUs than Xen or the machine's interrupt controller supports."
        ;;
    esac
}

# Errors of the boot itself.
check_boot() {
    [ "$boot_status" -ne 0 ] || return 0
    reason=$(sed -n 's/^panic /Dragoman panicked: /p; s/^xen-panic /Xen panicked: /p; s/^trouble //p' \
        "$dir/results" | head -n 1)
    [ -n "$reason" ] || reason="the machine ended without Dragoman's 'end poweroff'"
    trouble "$reason"
    cause=$(xen_panic_cause "$reason")
    # The disks' images grow while the machine runs.
    [ "$(free_mib "$dir")" -gt 1 ] ||
        cause="The file system of $dir is full: make room there, or give another --dir."
    [ -z "$cause" ] || printf '    %s\n' "$cause" >&2
    ! grep -q '^xen-panic' "$dir/results" || check=none # nothing else can have worked
    if grep -q '^panic' "$dir/results"; then
        tr -d '\r' <"$dir/console.log" | sed -n '/dragoman: panic/,$p' | head -n 40 >&2
    fi
}

# Errors that the guests found: "guest N fail PLACE TEXT", the place being a disk or "-".
check_guests() {
    sed -n 's/^guest \([0-9]*\) fail - /guest \1: /p
            s/^guest \([0-9]*\) fail \([^ ]*\)/guest \1, \2:/p' \
        "$dir/results" >"$dir/guest-failures"
    while read -r line; do trouble "$line"; done <"$dir/guest-failures"
}

# How guest $1 ended, in Dragoman's words; nothing when it did not say so.
end_of() { sed -n "s/^gone $1 \([^;]*\).*/\1/p" "$dir/results" | tail -n 1; }

# True for a task that does not end by itself: another cause must end the guest.
task_is_endless() { case $1 in crash | busy) ;; *) false ;; esac; }

# A guest must complete its task, unless the task is meant to be ended.
check_ends() {
    g=1
    while [ $g -le "$guests" ]; do
        task_name=$(task_of $g)
        if ! task_is_endless "$task_name" && ! grep -qx "guest $g done" "$dir/results"; then
            end=$(end_of $g)
            trouble "guest $g: did not complete its task $task_name${end:+; it $end}"
        fi
        g=$((g + 1))
    done
}

# The result of a run without errors: the end of each guest.
summarise() {
    g=1
    while [ $g -le "$guests" ]; do
        task_name=$(task_of $g)
        end=$(end_of $g)
        if task_is_endless "$task_name"; then
            echo "guest $g: task $task_name: it ${end:-ran until the end of the machine}, as intended"
        else
            echo "guest $g: task $task_name completed; then it ${end:-ended with the machine}"
        fi
        g=$((g + 1))
    done
    echo "The run passed: every check above holds, and Dragoman ended in good order."
}

# How the disks of guest $1 are checked: files, sums or none.
disk_check_of() {
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
            trouble "guest $1, $2: the guest did not compare its sums"
        return
    fi
    found=$(image_sum_and_size "$3" "$4")
    size=${found#* }
    found=${found%% *}
    if [ "$found" != "$sum" ]; then
        trouble "guest $1, $2: the guest's sum is $sum, the image's data have $found"
    elif [ "$size" -ne $((mib * 1048576)) ]; then
        trouble "guest $1, $2: the image's file has $size bytes, not $mib MiB"
    elif [ "$4" = files ]; then
        echo "guest $1, $2: file system clean, $mib MiB with the same SHA-256 in guest and image"
    else
        echo "guest $1, $2: $mib MiB with the same SHA-256 in guest and image"
    fi
}

check_disks() {
    n=0
    while [ $n -lt $((guests * disks)) ]; do
        disk_check=$(disk_check_of $((n / disks + 1)))
        [ "$disk_check" = none ] ||
            check_disk $((n / disks + 1)) "xvd$(letter $((n % disks)))" "$dir/disk$n.img" "$disk_check"
        n=$((n + 1))
    done
}

# What the guests fetched must be what was served. Guests whose task fetches nothing are skipped.
check_network() {
    [ "$vif" != none ] || return 0
    served=$(sha256sum <"$dir/served" | cut -d ' ' -f 1)
    g=1
    while [ $g -le "$guests" ]; do
        case $(task_of $g) in
        verify | network) check_guest_network $g ;;
        esac
        g=$((g + 1))
    done
}

# $1 guest: what it fetched from the host, and, if it is not guest 1, from guest 1.
check_guest_network() {
    for from in host guest1; do
        [ $from != guest1 ] || [ "$1" -gt 1 ] || continue
        sum=$(sed -n "s/^guest $1 net $from //p" "$dir/results" | tail -n 1)
        if [ "$sum" = "$served" ]; then
            echo "guest $1, net: $(stat -c %s "$dir/served") bytes by TCP from $from, the same SHA-256"
        elif [ -n "$sum" ]; then
            trouble "guest $1, net: the file from $from has the sum $sum, not $served"
        else
            grep -q "^guest $1 fail net " "$dir/results" ||
                trouble "guest $1, net: fetched nothing from $from"
        fi
    done
}

counter() { sed -n "s/^counter $1 //p" "$dir/results" | tail -n 1; }

check_counters() {
    if ! grep -q '^counter ' "$dir/results"; then
        trouble "Dragoman printed no counters"
        return
    fi
    # The resources that must have been returned by the end. An image may lack a counter, but not foreign_live.
    live=$(counter foreign_live)
    [ "$live" = 0 ] || trouble "foreign frames still mapped at the end: ${live:-not counted}"
    for name in slots_taken p2m_live bounce_taken; do
        live=$(counter $name)
        [ "${live:-0}" = 0 ] || trouble "not returned at the end: $name is $live"
    done
    errors=$(counter io_errors)
    # Requests to a bad sector must fail, and so must writes to a disk that does not flush.
    [ "${errors:-0}" = 0 ] || [ "$bad_sector$flush" != ok ] || trouble "$errors requests ended in an I/O error"
}

# The most important counters; all of them are in the results file.
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
            row("packets from guests", "vif_packets_from_guests")
            row("packets to guests", "vif_packets_to_guests")
            row("packets sent by the network card", "card_sent")
            row("packets received by it", "card_received")
            row("hypercalls", "hypercalls")
            if (value["requests"] > 0 && "hypercalls" in value)
                printf "  %-42s %14.2f\n", "hypercalls per request",
                    value["hypercalls"] / value["requests"]
            row("foreign frames still mapped at the end", "foreign_live")
        }' "$dir/results"
}
