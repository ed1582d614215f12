# SPDX-License-Identifier: MIT
#
# The domain's image. Linked twice: the first link gives the function addresses, from which the table for
# backtraces is made; code comes first in the image, so the second link moves none of them.

-include $(BUILD)/parts.mk

ARM64        := $(BUILD)/arm64
PICOLIBC     := /usr/lib/picolibc/aarch64-linux-gnu
ARM64_CFLAGS := $(COMMON) $(XEN_INC) -Iport/arm64-xen -isystem $(PICOLIBC)/include \
                $(if $(LIBFDT_ARM64_INCLUDE),-isystem $(LIBFDT_ARM64_INCLUDE)) \
                -ffreestanding -fpie -fvisibility=hidden -fno-omit-frame-pointer -mstrict-align \
                -mno-outline-atomics -fno-stack-protector -fno-asynchronous-unwind-tables \
                -ffunction-sections -fdata-sections -march=armv8-a -g
# Rooms that requests to a fast disk do not use, and files for starts and ends of connections, are compiled for size:
# there RAM counts more than speed.
ARM64_COLD   := kernel/% core/% xenstore/% partition/% drivers/pci/% drivers/sdhci/% drivers/shared/% \
                drivers/nvme/start.c drivers/nvme/adopt.c drivers/nvme/configure.c drivers/nvme/identify.c drivers/nvme/close.c \
                drivers/nvme/control.c drivers/nvme/status.c drivers/nvme/watch.c drivers/e1000e/e1000e.c \
                drivers/virtio_net/negotiate.c drivers/virtio_net/regions.c drivers/virtio_net/virtio_net.c \
                hyper/binder.c hyper/maptrack.c hyper/domain.c hyper/xen_status.c \
                pages/balloon.c pages/window.c pages/contig.c pages/foreign.c reach/selfgrant.c \
                block/connect.c block/shared.c block/vdev.c block/flush.c block/life.c net/connect.c net/keys.c net/cut.c
ARM64_HOT    := kernel/arm64/gic.c kernel/arm64/clock.c
# The library is optimised as a whole: a third of what a request costs is calls from file to file. Objects hold
# code too (fat), for what reads them (tests/tools/).
ARM64_WHOLE   := -flto=2 -ffat-lto-objects
ARM64_LDFLAGS := -O2 $(ARM64_WHOLE) -fno-omit-frame-pointer -mstrict-align -nostdlib -pie -Wl,--no-dynamic-linker,-z,text,--gc-sections,-T,kernel/arm64/link.ld \
                 -Wl,--build-id=none,-z,max-page-size=4096,--no-warn-rwx-segments,--defsym=vfprintf=__i_vfprintf
ARM64_LIBS   := $(LIBFDT_ARM64_A) $(PICOLIBC)/lib/release/libc.a -lgcc

KERNEL_SRC := $(wildcard kernel/*.c kernel/arm64/*.c port/arm64-xen/*.c) $(LIBRARY)
KERNEL_OBJ := $(KERNEL_SRC:%.c=$(ARM64)/%.o) $(ARM64)/kernel/arm64/entry.o

domain: $(ARM64)/dragoman.bin

$(ARM64)/%.o: %.c Makefile kernel/build.mk | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  CC     $<"
	@$(CROSS)gcc $(ARM64_CFLAGS) $(if $(filter-out $(ARM64_HOT),$(filter $(ARM64_COLD),$<)),-Os,-O2) \
	    $(if $(filter $(LIBRARY),$<),$(ARM64_WHOLE)) -c $< -o $@

$(ARM64)/%.o: %.S
	@mkdir -p $(@D)
	@echo "  AS     $<"
	@$(CROSS)gcc $(ARM64_CFLAGS) -c $< -o $@

$(ARM64)/symbols-none.S: kernel/arm64/symbols.awk
	@mkdir -p $(@D)
	@awk -f $< /dev/null >$@

$(ARM64)/symbols-none.o: $(ARM64)/symbols-none.S
	@$(CROSS)gcc -c $< -o $@

# $(1) the image's name, $(2) object files beside those of the domain
define IMAGE_RULES
$(ARM64)/$(1).first.elf: $(KERNEL_OBJ) $(2) $(ARM64)/symbols-none.o kernel/arm64/link.ld
	@$(CROSS)gcc $(ARM64_LDFLAGS) $$(filter %.o,$$^) $(ARM64_LIBS) -o $$@

$(ARM64)/$(1).symbols.S: $(ARM64)/$(1).first.elf kernel/arm64/symbols.awk
	@$(CROSS)nm -n $$< | awk -f kernel/arm64/symbols.awk >$$@

$(ARM64)/$(1).symbols.o: $(ARM64)/$(1).symbols.S
	@$(CROSS)gcc -c $$< -o $$@

$(ARM64)/$(1).elf: $(KERNEL_OBJ) $(2) $(ARM64)/$(1).symbols.o kernel/arm64/link.ld
	@echo "  LINK   $$@"
	@$(CROSS)gcc $(ARM64_LDFLAGS) $$(filter %.o,$$^) $(ARM64_LIBS) -o $$@
endef
$(eval $(call IMAGE_RULES,dragoman,))
.SECONDARY: $(ARM64)/dragoman.first.elf $(ARM64)/dragoman.symbols.S

$(ARM64)/%.bin: $(ARM64)/%.elf
	@$(CROSS)objcopy -O binary --set-section-flags .bss=alloc,load,contents $< $@
	@echo "  IMAGE  $@ $$(stat -c %s $@) bytes"
