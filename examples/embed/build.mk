# SPDX-License-Identifier: MIT
#
# build.mk: the library by itself, and an embedding of it. Included by the root Makefile.
#
#   library   build/library/NAME.o: the whole library as one object file, without a port, NAME for
#             {arm64, host} x {gcc, clang}, without libc or its headers
#   embed     build/host/embed, from examples/embed, against the simulated Xen
#
# tests/tools/test_library.sh and test_embed.sh look at both.

# --- the library: freestanding, no headers but the compiler's, Xen's, and a string.h of five functions ---
LIB_OUT    := $(BUILD)/library
LIB_BUILDS := arm64-gcc arm64-clang host-gcc host-clang
LIB_CC_arm64-gcc   := $(CROSS)gcc
LIB_CC_arm64-clang := clang --target=aarch64-linux-gnu
LIB_CC_host-gcc    := $(HOSTCC)
LIB_CC_host-clang  := clang
# What the compiler leaves to its own runtime (of x86: counting bits).
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

# --- an embedding: no env.c of port/sim's is linked, as examples/embed/env.c has all of its names ---
EMBED_SRC := $(wildcard examples/embed/*.c)

$(BUILD)/host/embed: $(EMBED_SRC) $(wildcard examples/embed/*.h) $(BUILD)/host/libdragoman.a
	@echo "  EMBED  $@"
	@$(HOSTCC) $(filter-out -MMD -MP,$(UNIT_CFLAGS)) $(EMBED_SRC) $(BUILD)/host/libdragoman.a -o $@

embed: $(BUILD)/host/embed

.PHONY: library embed
