# SPDX-License-Identifier: MIT
#
# path.mk: `make bench-path`: the library's own instructions for each request. Included by the root Makefile.
#
# The simulated machine (sim/) with the library as the domain has it: -O2, without sanitizers and without the
# calls that watch its loads. bench/path/count.py runs it under callgrind and counts the functions of the library's
# files. With CHECK=yes it also tests the budgets of bench/path/budgets.txt, as TAP.

BENCH_PATH       := $(BUILD)/bench/path
BENCH_PATH_FLAGS := $(COMMON) $(XEN_INC) -Iport/sim -O2 -gdwarf-4 -fno-omit-frame-pointer
BENCH_PATH_OBJ   := $(patsubst %.c,$(BENCH_PATH)/%.o,$(SIM_LIBRARY) $(SIM_OTHERS))

$(BENCH_PATH)/%.o: %.c bench/path.mk | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@$(HOSTCC) $(BENCH_PATH_FLAGS) -c $< -o $@

$(BENCH_PATH)/machine: $(BENCH_PATH_OBJ)
	@echo "  BENCH  $@"
	@$(HOSTCC) $(SIM_LINK) $^ $(SIM_LIBS) -o $@

bench-path: $(BENCH_PATH)/machine
	@$(PYTHON) bench/path/count.py $(if $(CHECK),--check) $(PATH_OPTIONS) $(BENCH_PATH)/machine

.PHONY: bench-path
