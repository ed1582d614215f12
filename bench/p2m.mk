# SPDX-License-Identifier: MIT
#
# p2m.mk: pages/p2m compared with Linux's design. Included by the root Makefile.
#
#   bench-p2m   builds, runs, and prints lines "# measure: ..."; with CHECK=yes also TAP

P2M_BENCH := $(BUILD)/bench/p2m
P2M_BENCH_CFLAGS := $(COMMON) $(XEN_INC) -Iport/sim -O2 -g
P2M_BENCH_OBJ := $(patsubst %.c,$(P2M_BENCH)/%.o,$(foreach room,$(PATH_ROOMS),$(wildcard $(room)/*.c)) \
    $(wildcard port/sim/*.c))
P2M_BENCH_DEPENDS := $(wildcard bench/*.h) Makefile bench/p2m.mk
.PHONY: bench-p2m
.SECONDARY: $(P2M_BENCH_OBJ) $(P2M_BENCH)/bench/treemap.o $(P2M_BENCH)/bench/p2m_rig.o

$(P2M_BENCH)/%.o: %.c $(P2M_BENCH_DEPENDS) | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  HOSTCC $<"
	@$(HOSTCC) $(P2M_BENCH_CFLAGS) -c $< -o $@

# An archive, so that only the parts that the p2m needs are linked.
$(P2M_BENCH)/path.a: $(P2M_BENCH_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(P2M_BENCH)/p2m_%: bench/p2m_%.c $(P2M_BENCH)/bench/p2m_rig.o $(P2M_BENCH)/bench/treemap.o $(P2M_BENCH)/path.a
	@$(HOSTCC) $(filter-out -MMD -MP,$(P2M_BENCH_CFLAGS)) $^ -pthread -o $@

bench-p2m: $(P2M_BENCH)/p2m_count $(P2M_BENCH)/p2m_race
	@bench/p2m.sh $(if $(CHECK),--check)
