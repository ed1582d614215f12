# shellcheck shell=sh disable=SC2154  # the caller sets what is read here
# SPDX-License-Identifier: MIT
#
# run-guests.sh: the guests of `./dragoman run`: their disks' images and their configurations. Sourced by run.sh.

# shellcheck source=tools/run-partitions.sh
. "$(dirname -- "$0")/run-partitions.sh"

# QEMU separates the properties of an argument by commas; two of them are one in a value.
for_qemu() { printf '%s' "$1" | sed 's/,/,,/g'; }

# The text of a string of xl.cfg in double quotes.
for_xl() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# The letter of disk number $1 (from 0).
letter() { printf '%s' abcdefghijklmnop | cut -c $(($1 + 1)); }

check_task() {
    [ -r "$(dirname -- "$0")/../guest/tasks/$1" ] ||
        usage_error "task '$1': there is no guest/tasks/$1 (there are: $(cd "$(dirname -- "$0")/../guest/tasks" && echo *))"
}

# The task of guest number $1.
task_of() {
    task_found=$task
    for pair in $guest_tasks; do
        [ "${pair%%=*}" != "$1" ] || task_found=${pair#*=}
    done
    printf '%s' "$task_found"
}

# The vdevs of a guest as xvda,xvdb.
vdevs() {
    d=0
    while [ $d -lt "$disks" ]; do
        [ $d = 0 ] || printf ,
        printf 'xvd%s' "$(letter $d)"
        d=$((d + 1))
    done
}

# An entry of blkdebug's file: what an error of the disk is, permanently.
inject_errors() { # $1 read or flush, $2 a further line
    printf '[inject-error]\nevent = "none"\niotype = "%s"\nerrno = "5"\nonce = "off"\n%s\n' "$1" "${2:-}"
}

make_disks() {
    # mke2fs takes 1024-byte blocks for a small disk, which one with 4096-byte sectors cannot have.
    [ -n "$block_size" ] || [ "$sector" = 512 ] || block_size=$sector
    block_words=${block_size:+-b $block_size}
    n=0
    while [ $n -lt $disk_total ]; do
        truncate -s "${disk_mib}M" "$dir/disk$n.img"
        # shellcheck disable=SC2086  # two words or none
        mke2fs -q -t ext4 -F $block_words "$dir/disk$n.img"
        n=$((n + 1))
    done
}

make_guests() {
    keys=${mode:+,mode=$mode}${persistent:+,persistent=$persistent}
    g=1
    while [ $g -le "$guests" ]; do
        specs=
        d=0
        while [ $d -lt "$disks" ]; do
            specs="$specs '$(target_of $(((g - 1) * disks + d))),raw,xvd$(letter $d),$access$keys',"
            d=$((d + 1))
        done
        words="dragoman.task=$(task_of $g) dragoman.disks=$(vdevs) dragoman.mib=$mib"
        words="$words dragoman.wait=$((120 * slow))"
        words="$words dragoman.vif=$vif dragoman.guest=$g dragoman.guests=$guests"
        words="$words${bad_sector:+ dragoman.bad=$bad_sector} $guest_args"
        cat >"$dir/guest$g.cfg" <<END
name = "guest$g"
kernel = "$kernel_file"
ramdisk = "$(for_xl "$PWD/$ramdisk")"
memory = $guest_mem
vcpus = $vcpus
cmdline = "console=ttyAMA0 quiet panic=-1 $words"
disk = [$specs ]
vif = [$(vifs_of $g) ]
on_reboot = "$on_end"
on_crash = "$on_end"
on_watchdog = "$on_end"
END
        g=$((g + 1))
    done
}
