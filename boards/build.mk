# SPDX-License-Identifier: MIT
#
# boards/NAME/entry.S: what QEMU starts on an emulated board in place of a boot loader.

BOARD_ENTRIES := $(patsubst %.S,$(BUILD)/%.bin,$(wildcard boards/*/entry.S))

boards: $(BOARD_ENTRIES)

$(BUILD)/boards/%.bin: boards/%.S
	@mkdir -p $(@D)
	@$(CROSS)gcc -c $< -o $(@:.bin=.o)
	@$(CROSS)objcopy -O binary $(@:.bin=.o) $@

.PHONY: boards
