# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# images.sh: files that look like kernels, for tests of tools that read them.

# make_image FILE: an arm64 Image of 4096 bytes: the magic at 56, image_size at 16.
make_image() {
    {
        head -c 16 /dev/zero
        printf '\000\020\000\000\000\000\000\000'
        head -c 32 /dev/zero
        printf 'ARM\144'
        head -c 4036 /dev/zero
    } >"$1"
}
