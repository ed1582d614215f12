# SPDX-License-Identifier: MIT
#
# io.mk: `make bench-io`: executed instructions per block request, by owner, beside native Linux and a Linux Dom0.
# Included by the root Makefile. See docs/benchmarks.md.
#
# Real Xen under QEMU with a plugin of ours (bench/machine/count.c). OPTIONS goes to bench/io/io.py (default --quick),
# for instance OPTIONS='--quick --system persistent --functions 10'.

OPTIONS ?= --quick

bench-io: bench-machine-parts domain tools guest
	@python3 -B bench/io/io.py $(OPTIONS)

.PHONY: bench-io
