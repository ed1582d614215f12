# SPDX-License-Identifier: MIT
#
# machine.mk: what the benchmarks that boot whole machines have in common (bench/machine/): the plugin that counts
# executed instructions, and the Linux Dom0. Included by the root Makefile. See docs/benchmarks.md.

MACHINE_PLUGIN := $(BUILD)/bench/machine/count.so
MACHINE_DOM0   := $(BUILD)/bench/machine/dom0.cpio

$(MACHINE_PLUGIN): bench/machine/count.c bench/machine/qemu_plugin.h bench/machine/machine.mk
	@mkdir -p $(@D)
	@$(HOSTCC) -std=c17 $(WARN) -O2 -shared -fPIC $< -o $@

$(MACHINE_DOM0): $(wildcard bench/machine/dom0/*) build/guest/initramfs-cloud.cpio.gz guest/build.sh \
    build/guest/programs/traffic
	$(call need_parts,$(DOM0_ROOT_DIR))
	@echo "  DOM0   $@"
	@mkdir -p $(@D)
	@bench/machine/dom0/build.sh $(LINUX_CLOUD_DIR) $(GUEST_ROOT_DIR) $(DOM0_ROOT_DIR) \
	    build/guest/initramfs-cloud.cpio.gz $@ build/guest/programs/traffic

# The plugin on a QEMU of a few lines (tests/tools/test_bench_io.sh).
MACHINE_PLUGIN_TEST := $(BUILD)/bench/machine/plugin-test

$(MACHINE_PLUGIN_TEST): tests/tools/bench_io_plugin.c bench/machine/count.c bench/machine/qemu_plugin.h bench/machine/machine.mk
	@mkdir -p $(@D)
	@$(HOSTCC) -std=gnu17 -Wall -Wextra -Werror -I. -O1 -g $(SANITIZE) tests/tools/bench_io_plugin.c bench/machine/count.c -o $@


bench-machine-test: $(MACHINE_PLUGIN_TEST)
bench-machine-parts: $(MACHINE_PLUGIN) $(MACHINE_DOM0)
.PHONY: bench-machine-test bench-machine-parts
