# SPDX-License-Identifier: MIT
#
# dma.mk: `make bench-dma`: the cost of mapping and unmapping. Included by the root Makefile.
#
# The library as it ships, -O2, without sanitizers, against port/sim. With callgrind, if it is there, it
# counts instructions of dgm_dma_map() and dgm_dma_unmap() with all that they call.

BENCH_DMA     := $(BUILD)/bench/dma_map
BENCH_DMA_SRC := bench/dma_map.c $(foreach room,$(PATH_ROOMS),$(wildcard $(room)/*.c)) \
    $(wildcard port/sim/*.c)

$(BENCH_DMA): $(BENCH_DMA_SRC) $(wildcard include/dragoman/*/*.h) bench/dma.mk | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@echo "  LINK   $@"
	@$(HOSTCC) $(filter-out -MMD -MP,$(COMMON)) $(XEN_INC) -Iport/sim -O2 -g $(BENCH_DMA_SRC) -o $@

bench-dma: $(BENCH_DMA)
	@$(BENCH_DMA)
	@if command -v valgrind >/dev/null; then for kind in coherent incoherent flush bounce; do \
	    valgrind --tool=callgrind --callgrind-out-file=$(BENCH_DMA).out --toggle-collect=measured \
	        $(BENCH_DMA) $$kind 2>&1 | sed -n "s/.*Collected : \([0-9]*\)/\1/p" | \
	        { read -r n; echo "# measure: dma $$kind: $$((n / 25600)) instructions a segment, map and unmap"; }; done; \
	else echo "no valgrind: instructions are not counted"; fi

.PHONY: bench-dma
