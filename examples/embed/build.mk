# SPDX-License-Identifier: MIT
#
# build.mk: the library by itself, and an embedding of it. Included by the root Makefile.
#
#   library   build/library/NAME.o: the whole library as one object file, without a port, NAME for
#             {arm64, host} x {gcc, clang}, without libc or its headers
#   install   headers, an archive for each port, and dragoman.pc, to PREFIX (with DESTDIR before it)
#   embed     build/host/embed, from examples/embed, against the simulated Xen
#
# Tests: tests/tools/test_library.sh, test_install.sh, test_embed.sh.

# --- the library: freestanding, no headers but the compiler's, Xen's, and a string.h of five functions ---
LIB_OUT    := $(BUILD)/library
LIB_BUILDS := arm64-gcc arm64-clang host-gcc host-clang
LIB_CC_arm64-gcc   := $(CROSS)gcc
LIB_CC_arm64-clang := clang --target=aarch64-linux-gnu
LIB_CC_host-gcc    := $(HOSTCC)
LIB_CC_host-clang  := clang
# The functions that the compiler leaves to its runtime (on x86: counting bits).
LIB_RUNTIME_arm64-gcc := -lgcc
LIB_RUNTIME_host-gcc  := -lgcc
LIB_PORT_arm64 := arm64-xen
LIB_PORT_host  := x86-pv
LIB_ARCH_arm64 := -march=armv8-a -mstrict-align -mno-outline-atomics
LIB_ARCH_host  := -mgeneral-regs-only -mno-red-zone
# No function has more than 3 KiB on the stack: docs/porting.md promises it.
LIB_CFLAGS := $(COMMON) -Wframe-larger-than=3072 -nostdinc -isystem tools/freestanding $(XEN_INC) \
    -ffreestanding -fpie -fvisibility=hidden -fno-stack-protector -fno-asynchronous-unwind-tables -O2 -g

# $(1) the build, $(2) its machine
define LIB_RULES
LIB_OBJ_$(1) := $$(patsubst %.c,$$(LIB_OUT)/$(1)/%.o,$$(LIBRARY))

$$(LIB_OUT)/$(1)/%.o: %.c tools/freestanding/string.h examples/embed/build.mk \
    | $$(BUILD)/xen-headers/xen
	@mkdir -p $$(@D)
	@$$(LIB_CC_$(1)) $$(LIB_CFLAGS) -isystem $$$$($$(LIB_CC_$(1)) -print-file-name=include) \
	    -Iport/$$(LIB_PORT_$(2)) $$(LIB_ARCH_$(2)) -c $$< -o $$@

$$(LIB_OUT)/$(1).o: $$(LIB_OBJ_$(1))
	@echo "  LIB    $$@"
	@$$(LIB_CC_$(1)) -nostdlib -r $$^ $$(LIB_RUNTIME_$(1)) -o $$@
endef
$(foreach build,$(LIB_BUILDS),$(eval $(call LIB_RULES,$(build),$(firstword $(subst -, ,$(build))))))

library: $(LIB_BUILDS:%=$(LIB_OUT)/%.o)

# --- installing: for each port an archive of the library, with the port's own functions ---
PREFIX        ?= /usr/local
INSTALL_PORTS := arm64-xen x86-pv sim
# The port's arch.c is a member of its own: an embedder that defines its functions gets its own ones.
INSTALL_OBJ_arm64-xen := $(LIB_OBJ_arm64-gcc) $(LIB_OUT)/arm64-gcc/port/arm64-xen/arch.o
INSTALL_OBJ_x86-pv    := $(LIB_OBJ_host-gcc) $(LIB_OUT)/host-gcc/port/x86-pv/arch.o
INSTALL_OBJ_sim       := $(patsubst %.c,$(LIB_OUT)/sim/%.o,$(LIBRARY) $(wildcard port/sim/*.c sim/hypervisor/*.c))
# By folder: the installed paths are those of the source tree.
INSTALL_HEADERS := $(wildcard port/*.h $(INSTALL_PORTS:%=port/%/*.h)) sim/hypervisor/hypervisor.h
INSTALL_TO       = $(DESTDIR)$(PREFIX)

$(LIB_OUT)/sim/%.o: %.c examples/embed/build.mk | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@$(HOSTCC) $(COMMON) $(XEN_INC) -Iport/sim -O2 -g -c $< -o $@

define INSTALL_RULES
$$(LIB_OUT)/$(1)/libdragoman.a: $$(INSTALL_OBJ_$(1))
	@echo "  AR     $$@"
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach port,$(INSTALL_PORTS),$(eval $(call INSTALL_RULES,$(port))))

install: $(INSTALL_PORTS:%=$(LIB_OUT)/%/libdragoman.a)
	@set -e; root=$(INSTALL_TO)/include/dragoman; \
	for header in $(INSTALL_HEADERS); do install -D -m 644 $$header $$root/$$header; done; \
	for header in $$(cd include && find dragoman -name '*.h'); do \
	    install -D -m 644 include/$$header $$root/$$header; done; \
	install -D -m 644 tools/freestanding/string.h $$root/freestanding/string.h; \
	for port in $(INSTALL_PORTS); do \
	    install -D -m 644 $(LIB_OUT)/$$port/libdragoman.a $(INSTALL_TO)/lib/dragoman/$$port/libdragoman.a; done; \
	version=$$(sed -n 's/^#define DGM_VERSION "\(.*\)"/\1/p' include/dragoman/base/version.h); \
	mkdir -p $(INSTALL_TO)/lib/pkgconfig; \
	sed "s|@PREFIX@|$(PREFIX)|; s|@VERSION@|$$version|" port/dragoman.pc.in >$(INSTALL_TO)/lib/pkgconfig/dragoman.pc
	@echo "  INSTALL $(INSTALL_TO)"

# --- an embedding: port/sim/env.c is not linked, as examples/embed/env.c has all of its names ---
EMBED_SRC := $(wildcard examples/embed/*.c)

$(BUILD)/host/embed: $(EMBED_SRC) $(wildcard examples/embed/*.h) $(BUILD)/host/libdragoman.a
	@echo "  EMBED  $@"
	@$(HOSTCC) $(filter-out -MMD -MP,$(UNIT_CFLAGS)) $(EMBED_SRC) $(BUILD)/host/libdragoman.a -o $@

embed: $(BUILD)/host/embed

.PHONY: library install embed
