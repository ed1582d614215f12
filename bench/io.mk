# SPDX-License-Identifier: MIT
#
# io.mk: `make bench-io`: executed instructions per block request, by owner. Included by the root Makefile.
#
# Real Xen under QEMU with a plugin of ours (bench/io/count.c). IO_OPTIONS goes to bench/io/io.py (default --quick),
# for instance IO_OPTIONS='--quick --mode persistent --functions 10'.

IO_OPTIONS ?= --quick
IO_PLUGIN  := $(BUILD)/bench/io/count.so

$(IO_PLUGIN): bench/io/count.c bench/io/qemu_plugin.h bench/io.mk
	@mkdir -p $(@D)
	@$(HOSTCC) -std=c17 $(WARN) -O2 -shared -fPIC $< -o $@

bench-io: $(IO_PLUGIN) domain tools guest
	@python3 bench/io/io.py $(IO_OPTIONS)

.PHONY: bench-io
