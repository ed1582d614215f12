# SPDX-License-Identifier: MIT
#
# net.mk: `make bench-net`: executed instructions per packet and per KiB of network traffic, by owner, beside native
# Linux and a Linux Dom0. Included by the root Makefile. See docs/benchmarks.md.
#
# OPTIONS goes to bench/net/net.py (default --quick).

OPTIONS ?= --quick
NET_PEER    := $(BUILD)/bench/net/traffic

$(NET_PEER): guest/programs/traffic.c bench/net.mk
	@mkdir -p $(@D)
	@$(HOSTCC) -std=gnu17 -Wall -Wextra -Werror -O2 $< -o $@

bench-net: bench-machine-parts $(NET_PEER) domain tools guest
	@python3 -B bench/net/net.py $(OPTIONS)

.PHONY: bench-net
