# SPDX-License-Identifier: MIT
#
# build.mk: the domain with one more driver in it. Included by the root Makefile.
#
#   ramdisk   build/arm64/dragoman-ramdisk.bin: a disk "ram0" beside those of the machine
#
# docs/first-disk-driver.md is about it.

RAMDISK_OBJ := $(ARM64)/examples/ramdisk/ramdisk.o
$(eval $(call IMAGE_RULES,dragoman-ramdisk,$(RAMDISK_OBJ)))

ramdisk: $(ARM64)/dragoman-ramdisk.bin

.PHONY: ramdisk
