# SPDX-License-Identifier: MIT
#
# What is built and from what. `./dragoman` calls this after it has seen to the packages and the arm64 parts; it
# works by itself too once those are there.
#
#   make domain       build/arm64/dragoman.bin (and .elf with symbols)
#   make tools        host tools, build/host/tools/
#   make check        hosted unit tests under ASan and UBSan, as TAP
#   make format       clang-format over everything; `make format-check` only says
#
# The library is the same list of sources for every port; a port is an include path and one more folder.

CROSS   ?= aarch64-linux-gnu-
HOSTCC  ?= gcc
PYTHON  ?= python3
BUILD   := build

all: domain tools

LIBRARY := $(wildcard core/*.c xenstore/*.c block/*.c drivers/*.c)
HEADERS := $(wildcard include/dragoman/*.h core/*.h xenstore/*.h block/*.h drivers/*.h port/*.h \
             port/*/*.h kernel/*.h sim/*.h)

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
           -Wpointer-arith -Wundef -Wno-unused-parameter
# gnu17: the domctl header of Xen demands the GNU dialect.
COMMON  := -std=gnu17 $(WARN) -Iinclude -I.

# Xen's public headers, alone: the cross compiler must not see the rest of the host's.
$(BUILD)/xen-headers/xen:
	@mkdir -p $(@D)
	@ln -sfn $${XEN_HEADERS:-/usr/include/xen} $@
XEN_INC := -isystem $(BUILD)/xen-headers -D__XEN_TOOLS__=1

include kernel/build.mk
-include tools/build.mk

# --- hosted: the library as it ships, against port/sim, under the sanitizers ---
SANITIZE    := -fsanitize=address,undefined -fno-sanitize-recover=all
UNIT_CFLAGS := $(COMMON) $(XEN_INC) -Iport/sim -O1 -g -fno-omit-frame-pointer $(SANITIZE)
HOST_SRC    := $(LIBRARY) $(wildcard port/sim/*.c sim/*.c)
HOST_OBJ    := $(HOST_SRC:%.c=$(BUILD)/host/%.o)
UNIT_TESTS  := $(patsubst tests/unit/%.c,$(BUILD)/host/tests/%,$(wildcard tests/unit/test_*.c))

$(BUILD)/host/%.o: %.c $(HEADERS) Makefile | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  HOSTCC $<"
	@$(HOSTCC) $(UNIT_CFLAGS) -c $< -o $@

$(BUILD)/host/libdragoman.a: $(HOST_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/host/tests/%: tests/unit/%.c $(wildcard tests/unit/*.h) $(BUILD)/host/libdragoman.a
	@mkdir -p $(@D)
	@echo "  TEST   $<"
	@$(HOSTCC) $(UNIT_CFLAGS) -Itests/unit $< $(BUILD)/host/libdragoman.a -lcmocka -o $@

unit-tests: $(UNIT_TESTS)

# Every test program speaks TAP; the caller counts.
check: unit-tests
	@status=0; for test in $(UNIT_TESTS); do \
	    echo "# $$test"; CMOCKA_MESSAGE_OUTPUT=TAP $$test || status=1; done; exit $$status

# --- broken twins: the image with one planted bug, from tests/planted/NAME.patch ---
TWINS := gfn-for-mfn assert-fails
twins: $(TWINS:%=$(BUILD)/twins/%.bin)

$(BUILD)/twins/%.bin: tests/planted/%.patch $(ARM64)/dragoman.bin
	@rm -rf $(BUILD)/twins/$*
	@mkdir -p $(BUILD)/twins/$*/$(BUILD)
	@cp -r Makefile include core xenstore block drivers kernel port sim $(BUILD)/twins/$*/
	@cp $(BUILD)/parts.mk $(BUILD)/twins/$*/$(BUILD)/
	@patch -s -p1 -d $(BUILD)/twins/$* <$<
	@$(MAKE) -s -C $(BUILD)/twins/$* domain
	@cp $(BUILD)/twins/$*/$(ARM64)/dragoman.bin $@

FORMATTED := $(shell git ls-files -co --exclude-standard -- '*.c' '*.h' 2>/dev/null)
format:
	clang-format -i $(FORMATTED)
format-check:
	clang-format --dry-run -Werror $(FORMATTED)

clean:
	rm -rf $(BUILD)


.PHONY: all domain twins tools check unit-tests format format-check clean
