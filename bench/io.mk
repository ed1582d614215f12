# SPDX-License-Identifier: MIT
#
# io.mk: `make bench-io`: executed instructions per block request, by owner, beside native Linux and a Linux Dom0.
# Included by the root Makefile. See docs/benchmarks.md.
#
# Real Xen under QEMU with a plugin of ours (bench/io/count.c). IO_OPTIONS goes to bench/io/io.py (default --quick),
# for instance IO_OPTIONS='--quick --system persistent --functions 10'.

IO_OPTIONS ?= --quick
IO_PLUGIN  := $(BUILD)/bench/io/count.so
IO_DOM0    := $(BUILD)/bench/io/dom0.cpio

$(IO_PLUGIN): bench/io/count.c bench/io/qemu_plugin.h bench/io.mk
	@mkdir -p $(@D)
	@$(HOSTCC) -std=c17 $(WARN) -O2 -shared -fPIC $< -o $@

$(IO_DOM0): $(wildcard bench/io/dom0/*) build/guest/initramfs-cloud.cpio.gz guest/build.sh
	$(call need_parts,$(DOM0_ROOT_DIR))
	@echo "  DOM0   $@"
	@mkdir -p $(@D)
	@bench/io/dom0/build.sh $(LINUX_CLOUD_DIR) $(GUEST_ROOT_DIR) $(DOM0_ROOT_DIR) \
	    build/guest/initramfs-cloud.cpio.gz $@

# The plugin on a QEMU of a few lines (tests/tools/test_bench_io.sh).
IO_PLUGIN_TEST := $(BUILD)/bench/io/plugin-test

$(IO_PLUGIN_TEST): tests/tools/bench_io_plugin.c bench/io/count.c bench/io/qemu_plugin.h bench/io.mk
	@mkdir -p $(@D)
	@$(HOSTCC) -std=gnu17 -Wall -Wextra -Werror -I. -O1 -g $(SANITIZE) tests/tools/bench_io_plugin.c bench/io/count.c -o $@

bench-io-test: $(IO_PLUGIN_TEST)
bench-io-parts: $(IO_PLUGIN) $(IO_DOM0)
bench-io: bench-io-parts domain tools guest
	@python3 -B bench/io/io.py $(IO_OPTIONS)

.PHONY: bench-io bench-io-parts bench-io-test
