# SPDX-License-Identifier: MIT
#
# build.mk: the x86 test kernel, which runs pages/contig on real Xen. Included by the root Makefile. It is not a
# product: it links only the parts of the library that contig needs.
#
#   make x86-pv    build/x86-pv/kernel.elf, for an amd64 machine

X86_PV     := $(BUILD)/x86-pv
X86_PV_CC  ?= gcc
X86_PV_SRC := pages/contig.c hyper/hypercall.c $(wildcard port/x86-pv/*.c port/x86-pv/kernel/*.c)
X86_PV_OBJ := $(X86_PV_SRC:%.c=$(X86_PV)/%.o) $(X86_PV)/port/x86-pv/kernel/entry.o
X86_PV_CFLAGS := $(COMMON) $(XEN_INC) -Iport/x86-pv -ffreestanding -fno-pic -mcmodel=kernel -m64 \
    -mno-red-zone -mgeneral-regs-only -fcf-protection=none -fno-stack-protector -fno-asynchronous-unwind-tables \
    -ffunction-sections -fdata-sections -fno-omit-frame-pointer -O2 -g

x86-pv: $(X86_PV)/kernel.elf

$(X86_PV)/%.o: %.c port/x86-pv/build.mk Makefile | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  X86CC  $<"
	@$(X86_PV_CC) $(X86_PV_CFLAGS) -c $< -o $@

$(X86_PV)/%.o: %.S port/x86-pv/build.mk | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  X86AS  $<"
	@$(X86_PV_CC) $(X86_PV_CFLAGS) -c $< -o $@

$(X86_PV)/kernel.elf: $(X86_PV_OBJ) port/x86-pv/kernel/link.ld
	@echo "  LINK   $@"
	@$(X86_PV_CC) -m64 -nostdlib -static -no-pie -Wl,--gc-sections,--build-id=none,-z,max-page-size=4096 \
	    -Wl,--no-warn-rwx-segments -T port/x86-pv/kernel/link.ld $(X86_PV_OBJ) -o $@

.PHONY: x86-pv
