# SPDX-License-Identifier: MIT
#
# build.mk: the simulated machine with the library in it. Included by the root Makefile.
#
#   sim        build/sim/fast/dragoman-sim   -O2, assertions on
#   sim-asan   build/sim/asan/dragoman-sim   the same under ASan and UBSan
#   sim-check  the simulator's part of the tests, as TAP
#
# By clang, because it can call out before each load (-fsanitize-coverage=trace-loads): the library is
# built with that, and with its memcpy renamed, so that sim/machine/watch.c sees every byte that it
# takes from shared memory. The simulator itself is not traced.

SIMCC       ?= clang
SIM_OPT     ?= -O2
SIM_OUT     ?= $(BUILD)/sim
SIM_WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
               -Wno-unused-parameter
SIM_COMMON  := -std=gnu17 $(SIM_WARN) -Iinclude -I. -Iport/sim $(XEN_INC) -g -MMD -MP
SIM_TRACED  := -fsanitize-coverage=func,trace-loads,trace-stores -Dmemcpy=sim_memcpy
# Each taking of a bounce buffer is checked by the rules of shares (sim/machine/oracle.c).
# The common map is also made by a plan, and the two are compared (sim/machine/both_ways.c).
SIM_LINK    := -Wl,--wrap=dgm_bounce_take -Wl,--wrap=dgm_dma_map_direct
# For the trees of sim/machine/board.c.
SIM_LIBS    := -lfdt
SIM_LIBRARY := $(filter-out drivers/pci/%,$(LIBRARY)) kernel/guests.c kernel/rebuild.c kernel/restart.c kernel/sharing.c kernel/disks.c kernel/partitions.c \
               kernel/config_find.c kernel/devtree_bus.c kernel/network.c kernel/ranges.c kernel/shortage.c
SIM_OTHERS  := $(wildcard port/sim/*.c sim/*/*.c)

SIM_FLAGS_fast := $(SIM_OPT)
SIM_FLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
                  -fno-sanitize-recover=all

define SIM_RULES
$(SIM_OUT)/$(1)/library/%.o: %.c sim/build.mk | $$(BUILD)/xen-headers/xen
	@mkdir -p $$(@D)
	@echo "  SIMCC  $$<"
	@$$(SIMCC) $$(SIM_COMMON) $$(SIM_FLAGS_$(1)) $$(SIM_TRACED) -c $$< -o $$@

$(SIM_OUT)/$(1)/others/%.o: %.c sim/build.mk | $$(BUILD)/xen-headers/xen
	@mkdir -p $$(@D)
	@echo "  SIMCC  $$<"
	@$$(SIMCC) $$(SIM_COMMON) $$(SIM_FLAGS_$(1)) -c $$< -o $$@

$(SIM_OUT)/$(1)/dragoman-sim: $$(SIM_LIBRARY:%.c=$(SIM_OUT)/$(1)/library/%.o) \
                              $$(SIM_OTHERS:%.c=$(SIM_OUT)/$(1)/others/%.o)
	@echo "  SIM    $$@"
	@$$(SIMCC) $$(SIM_FLAGS_$(1)) $$(SIM_LINK) $$^ $$(SIM_LIBS) -o $$@
endef
$(eval $(call SIM_RULES,fast))
$(eval $(call SIM_RULES,asan))

sim: $(SIM_OUT)/fast/dragoman-sim
sim-asan: $(SIM_OUT)/asan/dragoman-sim

sim-check: sim sim-asan
	@tests/sim/run.sh

.PHONY: sim sim-asan sim-check
