# SPDX-License-Identifier: MIT
#
# build.mk: the host tools, and the test guest. Included by the root Makefile.
#
#   tools        build/host/tools/NAME                programs for this machine, in C
#   guest        build/guest/initramfs-cloud.cpio.gz  the test guest's initial ramdisk
#   guest-16k    the same for Debian's kernel with 16 KiB pages
#
# The guest's parts come from build/parts.mk, which `./dragoman parts` writes.

HOSTCC ?= gcc
TOOLS_CFLAGS := -std=c17 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes \
    -Wmissing-prototypes -Werror -O2 -g
TOOLS_OUT := build/host/tools

# One line per program: its sources, and the libraries that it links.
TOOLS := mkboottree machine tapnet
mkboottree_SOURCES := mkboottree.c boot_tree.c capacity.c config_text.c disk_config.c disk_target.c dragoman_nodes.c guest_config.c \
    guest_keys.c load_plan.c must_tree.c vif_config.c vif_vlan.c kernel_image.c memory_map.c options.c output_files.c message.c must.c selector.c text.c
mkboottree_LIBS := -Wl,--gc-sections -lxlutil -lxenlight -lfdt
machine_SOURCES := machine.c boot_watch.c qemu.c terminal.c console_lines.c boot_facts.c guest_view.c when.c \
    options.c message.c must.c
machine_LIBS :=
tapnet_SOURCES := tapnet.c message.c
tapnet_LIBS :=

.PHONY: tools
tools: $(addprefix $(TOOLS_OUT)/,$(TOOLS))
	@:

$(TOOLS_OUT)/obj/%.o: tools/%.c tools/build.mk
	@mkdir -p $(@D)
	@echo "  HOSTCC $<"
	@$(HOSTCC) $(TOOLS_CFLAGS) -MMD -MP -c -o $@ $<

# What the library's code says about targets is the same for the tool.
$(TOOLS_OUT)/obj/selector.o: partition/selector.c tools/build.mk
$(TOOLS_OUT)/obj/text.o: base/text.c tools/build.mk
$(TOOLS_OUT)/obj/selector.o $(TOOLS_OUT)/obj/text.o:
	@mkdir -p $(@D)
	@echo "  HOSTCC $<"
	@$(HOSTCC) $(TOOLS_CFLAGS) -ffunction-sections -Iinclude -I. -MMD -MP -c -o $@ $<
$(TOOLS_OUT)/obj/disk_target.o: TOOLS_CFLAGS += -Iinclude

define tool_rule
$(TOOLS_OUT)/$(1): $(addprefix $(TOOLS_OUT)/obj/,$($(1)_SOURCES:.c=.o))
	@echo "  LINK   $$@"
	@$$(HOSTCC) -g -o $$@ $$^ $($(1)_LIBS)
endef
$(foreach tool,$(TOOLS),$(eval $(call tool_rule,$(tool))))

-include build/parts.mk

# The test guest's own programs, static: its user space is busybox and little else.
CROSS ?= aarch64-linux-gnu-
GUEST_PROGRAMS := $(patsubst guest/programs/%.c,build/guest/programs/%,$(wildcard guest/programs/*.c))

FRONT_OF = $(patsubst %,guest/programs/lib/%.c,$(1))
build/guest/programs/frontends build/guest/programs/neighbour: FRONT := $(call FRONT_OF,scenario xen blkfront)
build/guest/programs/attacks: FRONT := $(call FRONT_OF,scenario xen blkfront netfront) $(wildcard guest/programs/attacks/*.c)

build/guest/programs/%: guest/programs/%.c $(wildcard guest/programs/*.h guest/programs/*/*)
	@mkdir -p $(@D)
	@echo "  GUESTCC $<"
	@$(CROSS)gcc -std=c17 -Wall -Wextra -Werror -O2 -static -o $@ $< $(FRONT)

GUEST_FILES := $(GUEST_PROGRAMS) guest/build.sh guest/init guest/modules.list $(wildcard guest/tasks/*)

.PHONY: guest guest-16k guest-programs
guest-programs: $(GUEST_PROGRAMS)
guest: build/guest/initramfs-cloud.cpio.gz
	@:
guest-16k: build/guest/initramfs-16k.cpio.gz
	@:

need_parts = @test -n "$(1)" || { echo "The arm64 parts are missing: './dragoman parts'" >&2; exit 1; }

build/guest/initramfs-cloud.cpio.gz: $(GUEST_FILES) $(wildcard build/parts.mk)
	$(call need_parts,$(LINUX_CLOUD_DIR))
	@echo "  GUEST  $@"
	@mkdir -p $(@D)
	@guest/build.sh $(LINUX_CLOUD_DIR) $(GUEST_ROOT_DIR) $@ $(GUEST_PROGRAMS)

build/guest/initramfs-16k.cpio.gz: $(GUEST_FILES) $(wildcard build/parts.mk)
	$(call need_parts,$(LINUX_16K_DIR))
	@echo "  GUEST  $@"
	@mkdir -p $(@D)
	@guest/build.sh $(LINUX_16K_DIR) $(GUEST_ROOT_DIR) $@ $(GUEST_PROGRAMS)
