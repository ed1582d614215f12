# SPDX-License-Identifier: MIT
#
# The build. `./dragoman` calls it after it has installed the packages and fetched the arm64 parts; with these it also
# works alone. `make help` prints this list:
#
#   make domain         build/arm64/dragoman.bin (and .elf with symbols)
#   make tools          host tools, build/host/tools/
#   make boards         the code that QEMU starts on emulated boards instead of a boot loader
#   make guest          the test guest's initial ramdisk; guest-16k, guest-programs
#   make sim            the simulated machine, build/sim/fast/dragoman-sim; sim-asan
#   make library        the library as one object file per machine and compiler, build/library/
#   make embed          build/host/embed, from examples/embed
#   make install        headers, archive and pkg-config file for embedders, below DESTDIR and PREFIX
#   make ramdisk        build/arm64/dragoman-ramdisk.bin, the domain with the driver of examples/ramdisk
#   make check          hosted unit tests under ASan and UBSan, as TAP; unit-tests only builds them
#   make tsan-check     the code that reactors share, under ThreadSanitizer, as TAP; tsan-tests only builds them
#   make sim-check      the simulator's part of the tests, as TAP
#   make coverage       branches of the foreign-page path that the hosted tests take, as TAP; coverage-programs
#   make fuzz-replay    the committed inputs of the fuzz targets, as TAP; fuzz-programs, fuzzers build them
#   make twins          images with one planted bug each, for the tests on real Xen
#   make bench-p2m      parts of the library compared with those of Linux; bench-dma, bench-io, bench-net
#   make bench-machine-test  the plugin of bench-io and bench-net with a stand-in for QEMU; bench-machine-parts what they boot
#   make bench-path     the library's own instructions for each request, in the simulated machine, by source
#   make x86-pv         the x86 test kernel of pages/contig
#   make format         clang-format (version 14) over everything; format-check only reports
#   make compile_commands.json   for clangd and other readers of code
#   make rooms          the rooms of the source, lowest first
#   make clean          removes build/
#
# The library is the same list of sources for every port; a port is an include path and one more folder.

CROSS   ?= aarch64-linux-gnu-
HOSTCC  ?= gcc
PYTHON  ?= python3
BUILD   := build

all: domain tools

# The rooms, lowest first: a room calls those before it only (docs/design.md, tests/tools/test_rooms.sh).
PATH_ROOMS := base hyper pages dma reach core
ROOMS      := $(PATH_ROOMS) drivers/shared drivers/pci drivers/nvme drivers/sdhci drivers/e1000e drivers/virtio_net partition xenstore block net
LIBRARY    := $(foreach room,$(ROOMS),$(wildcard $(room)/*.c))

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
           -Wpointer-arith -Wundef -Wno-unused-parameter
# gnu17: the domctl header of Xen demands the GNU dialect.
# -MMD: every object file comes with a list of the headers that it was made from.
COMMON  := -std=gnu17 $(WARN) -Iinclude -I. -MMD -MP

rooms:
	@echo $(ROOMS) kernel/arm64 kernel

# Xen's public headers, alone: the cross compiler must not see the rest of the host's.
$(BUILD)/xen-headers/xen:
	@mkdir -p $(@D)
	@ln -sfn $${XEN_HEADERS:-/usr/include/xen} $@
XEN_INC := -isystem $(BUILD)/xen-headers -D__XEN_TOOLS__=1

include kernel/build.mk
-include boards/build.mk
-include tools/build.mk

# --- the simulated machine: `make sim`, `make sim-asan`, `make sim-check` ---
include sim/build.mk

# --- hosted: the library as it ships, against port/sim, under the sanitizers ---
SANITIZE    := -fsanitize=address,undefined -fno-sanitize-recover=all
UNIT_CFLAGS := $(COMMON) $(XEN_INC) -Iport/sim -O1 -g -fno-omit-frame-pointer $(SANITIZE)
# The parts of kernel and tools that read device trees are tested and fuzzed like the library.
HOST_SRC    := $(LIBRARY) $(wildcard port/sim/*.c sim/hypervisor/*.c sim/devices/*.c) \
               $(wildcard kernel/config*.c kernel/devtree*.c) kernel/disks.c kernel/partitions.c kernel/ranges.c kernel/arm64/registers.c \
               kernel/memory.c kernel/memory_learn.c kernel/shortage.c kernel/xen.c tools/memory_map.c tools/boot_tree.c \
               tools/dragoman_nodes.c tools/load_plan.c tools/must_tree.c tools/capacity.c
HOST_OBJ    := $(HOST_SRC:%.c=$(BUILD)/host/%.o)
UNIT_SRC    := $(wildcard tests/unit/*/test_*.c)
UNIT_TESTS  := $(patsubst %.c,$(BUILD)/host/tests/%,$(notdir $(UNIT_SRC)))
# The rigs are an archive, so that a test is linked with those that it uses. A fuzz target is linked with all of them,
# so that two rigs that export the same name do not link.
RIG_SRC     := $(wildcard tests/unit/rigs/*.c)
RIG_OBJ     := $(RIG_SRC:%.c=$(BUILD)/host/%.o)
vpath test_%.c $(sort $(dir $(UNIT_SRC)))

$(BUILD)/host/%.o: %.c Makefile | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  HOSTCC $<"
	@$(HOSTCC) $(UNIT_CFLAGS) -c $< -o $@

$(BUILD)/host/libdragoman.a: $(HOST_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/host/tests/%.o: %.c Makefile | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@$(HOSTCC) $(UNIT_CFLAGS) -Itests/unit/rigs -c $< -o $@

$(BUILD)/host/librigs.a: $(RIG_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/host/tests/%: $(BUILD)/host/tests/%.o $(BUILD)/host/librigs.a $(BUILD)/host/libdragoman.a
	@echo "  TEST   $@"
	@$(HOSTCC) $(UNIT_CFLAGS) $(filter %.o %.a,$^) -lcmocka -lfdt -o $@

.SECONDARY: $(UNIT_TESTS:%=%.o) $(RIG_OBJ)
unit-tests: $(UNIT_TESTS)

# Every test program prints TAP; the caller counts.
check: unit-tests
	@status=0; for test in $(UNIT_TESTS); do \
	    echo "# $$test"; CMOCKA_MESSAGE_OUTPUT=TAP $$test || status=1; done; exit $$status

# --- the parts that reactors share, by threads under ThreadSanitizer: tests/unit/pages/tsan_*.c ---
TSAN_CFLAGS := $(filter-out -MMD -MP,$(COMMON)) $(XEN_INC) -Iport/sim -Itests/unit/rigs -O1 -g \
               -fsanitize=thread
TSAN_SRC    := pages/window.c pages/slot.c pages/p2m.c pages/identity.c $(wildcard port/sim/*.c) \
               tests/unit/rigs/unit.c
TSAN_TESTS  := $(patsubst tests/unit/pages/%.c,$(BUILD)/tsan/%,$(wildcard tests/unit/pages/tsan_*.c))

$(BUILD)/tsan/%: tests/unit/pages/%.c tests/unit/rigs/unit.h $(TSAN_SRC) \
    $(wildcard include/dragoman/*/*.h port/*.h port/sim/*.h) Makefile \
    | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  TSAN   $<"
	@$(HOSTCC) $(TSAN_CFLAGS) $< $(TSAN_SRC) -lcmocka -lpthread -o $@

tsan-tests: $(TSAN_TESTS)
tsan-check: tsan-tests
	@status=0; for test in $(TSAN_TESTS); do \
	    echo "# $$test"; CMOCKA_MESSAGE_OUTPUT=TAP $$test || status=1; done; exit $$status

# --- fuzzing: fuzz/NAME.c is a target, fuzz/corpus/NAME its inputs; see docs/fuzzing.md ---
# With clang and libFuzzer to find inputs, and with the compiler of the tests to replay them.
FUZZ_NAMES  := $(filter-out replay,$(patsubst fuzz/%.c,%,$(wildcard fuzz/*.c)))
FUZZ_CC     ?= clang
FUZZ_CFLAGS := $(filter-out -Werror,$(UNIT_CFLAGS)) -Itests/unit/rigs -Wno-unused-function
FUZZ_LIB    := $(wildcard fuzz/lib/*.c)
FUZZ_OBJ    := $(patsubst %.c,$(BUILD)/fuzz/%.o,$(RIG_SRC) $(FUZZ_LIB))
.SECONDARY: $(FUZZ_OBJ) $(FUZZ_LIB:%.c=$(BUILD)/host/%.o)
.PHONY: fuzzers fuzz-programs fuzz-replay

$(BUILD)/fuzz/%.o: %.c Makefile | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  FUZZCC $<"
	@$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -c $< -o $@

$(BUILD)/fuzz/libdragoman.a: $(HOST_SRC:%.c=$(BUILD)/fuzz/%.o)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/fuzz/fuzz-%: fuzz/%.c $(wildcard fuzz/lib/*.h tests/unit/rigs/*) $(FUZZ_OBJ) $(BUILD)/fuzz/libdragoman.a
	@echo "  FUZZ   $<"
	@$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer $< $(FUZZ_OBJ) $(BUILD)/fuzz/libdragoman.a -lcmocka -lfdt -o $@

$(BUILD)/host/fuzz/%: fuzz/%.c fuzz/replay.c $(wildcard fuzz/lib/*.h tests/unit/rigs/*) \
    $(FUZZ_LIB:%.c=$(BUILD)/host/%.o) $(RIG_OBJ) $(BUILD)/host/libdragoman.a
	@mkdir -p $(@D)
	@echo "  REPLAY $<"
	@$(HOSTCC) $(filter-out -MMD -MP,$(UNIT_CFLAGS)) -Itests/unit/rigs -Wno-unused-function fuzz/replay.c $< $(FUZZ_LIB:%.c=$(BUILD)/host/%.o) $(RIG_OBJ) $(BUILD)/host/libdragoman.a \
	    -lcmocka -lfdt -o $@

fuzzers: $(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz-%)

# The committed inputs of every target, as TAP.
fuzz-programs: $(FUZZ_NAMES:%=$(BUILD)/host/fuzz/%)
fuzz-replay: fuzz-programs
	@status=0; for name in $(FUZZ_NAMES); do \
	    $(BUILD)/host/fuzz/$$name $$name fuzz/corpus/$$name || status=1; done; exit $$status

# --- branch coverage of the foreign-page path: `make coverage` ---
-include tools/coverage.mk

# --- broken twins: the image with one planted bug, from tests/planted/NAME.patch ---
TWINS := gfn-for-mfn assert-fails no-bounce
twins: $(TWINS:%=$(BUILD)/twins/%.bin)

$(BUILD)/twins/%.bin: tests/planted/%.patch $(ARM64)/dragoman.bin
	@rm -rf $(BUILD)/twins/$*
	@mkdir -p $(BUILD)/twins/$*/$(BUILD)
	@cp -r Makefile include $(sort $(foreach room,$(ROOMS),$(firstword $(subst /, ,$(room))))) \
	    kernel port sim tools $(BUILD)/twins/$*/
	@cp $(BUILD)/parts.mk $(BUILD)/twins/$*/$(BUILD)/
	@patch -s -p1 -d $(BUILD)/twins/$* <$<
	@$(MAKE) -s -C $(BUILD)/twins/$* domain
	@cp $(BUILD)/twins/$*/$(ARM64)/dragoman.bin $@

# --- benchmarks: bench/NAME.mk, `./dragoman bench` ---
-include bench/machine/machine.mk bench/*.mk

# --- the library by itself, and an embedding of it: `make library`, `make embed` ---
-include examples/embed/build.mk

# --- the domain with a driver more: `make ramdisk` ---
-include examples/ramdisk/build.mk

# --- x86: the test kernel for pages/contig, on real Xen for x86 (tests/x86) ---
include port/x86-pv/build.mk
# --- end of x86 ---

# --- the first hour: what there is, how it is formatted, how an editor reads it ---
help:
	@sed -n 's/^#   make /  make /p' Makefile

compile_commands.json: tools/compile-commands.sh Makefile $(wildcard *.mk */*.mk */*/*.mk)
	@tools/compile-commands.sh >$@.new && mv $@.new $@

# Another version formats differently.
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format) clang-format)
FORMATTED    := $(shell git ls-files -co --exclude-standard -- '*.c' '*.h' 2>/dev/null)
format:
	@$(CLANG_FORMAT) -i $(FORMATTED)
format-check:
	@$(CLANG_FORMAT) --dry-run -Werror $(FORMATTED)

# What was made with -MMD.
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

clean:
	rm -rf $(BUILD) compile_commands.json

.PHONY: all help rooms domain twins check tsan-check tsan-tests unit-tests format format-check clean
