# SPDX-License-Identifier: MIT
#
# coverage.mk: the hosted tests with every branch of the foreign-page path counted. Included by the root Makefile.
#
#   coverage   builds them, runs them and says how much of it they reach, as TAP; see
#              tools/coverage.sh
#
# Built by clang, which counts each condition, and without sanitizers, whose checks are branches too. Only PATH_ROOMS
# are counted; what is around it is built as always.

COVERAGE        := $(BUILD)/coverage
COVERAGE_CC     ?= clang
COVERAGE_CFLAGS := $(filter-out -Werror $(SANITIZE),$(UNIT_CFLAGS)) -Itests/unit/rigs -Wno-unused-function
COVERAGE_COUNT  := -fprofile-instr-generate -fcoverage-mapping
COVERAGE_PATH   := $(foreach room,$(PATH_ROOMS),$(patsubst %.c,$(COVERAGE)/%.o,$(wildcard $(room)/*.c)))
COVERAGE_OTHERS := $(patsubst %.c,$(COVERAGE)/%.o,$(filter-out $(PATH_ROOMS:%=%/%),$(HOST_SRC)))
COVERAGE_RIGS   := $(RIG_SRC:%.c=$(COVERAGE)/%.o)
COVERAGE_FUZZ_LIB := $(patsubst %.c,$(COVERAGE)/%.o,$(wildcard fuzz/lib/*.c))
COVERAGE_TESTS  := $(UNIT_TESTS:$(BUILD)/host/%=$(COVERAGE)/%)
COVERAGE_FUZZ   := $(FUZZ_NAMES:%=$(COVERAGE)/fuzz/%)
.SECONDARY: $(COVERAGE_PATH) $(COVERAGE_OTHERS) $(COVERAGE_RIGS)
.PHONY: coverage coverage-programs

$(COVERAGE_PATH): $(COVERAGE)/%.o: %.c Makefile tools/coverage.mk | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) $(COVERAGE_COUNT) -c $< -o $@

$(COVERAGE_OTHERS) $(COVERAGE_RIGS) $(COVERAGE_FUZZ_LIB): $(COVERAGE)/%.o: %.c Makefile tools/coverage.mk | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -c $< -o $@

$(COVERAGE)/libdragoman.a: $(COVERAGE_PATH) $(COVERAGE_OTHERS)
	@rm -f $@
	@ar rcs $@ $^

# Counting at the link only: the tests' own branches are of no interest.
$(COVERAGE)/librigs.a: $(COVERAGE_RIGS)
	@rm -f $@
	@ar rcs $@ $^

$(COVERAGE)/tests/%: %.c $(COVERAGE)/librigs.a $(COVERAGE)/libdragoman.a
	@mkdir -p $(@D)
	@echo "  COVER  $<"
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -c $< -o $@.o
	@$(COVERAGE_CC) -fprofile-instr-generate $@.o $(COVERAGE)/librigs.a $(COVERAGE)/libdragoman.a -lcmocka -lfdt -o $@

$(COVERAGE)/fuzz/%: fuzz/%.c fuzz/replay.c $(wildcard fuzz/lib/* tests/unit/rigs/*) \
    $(COVERAGE_FUZZ_LIB) $(COVERAGE_RIGS) $(COVERAGE)/libdragoman.a
	@mkdir -p $(@D)
	@echo "  COVER  $<"
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -c $< -o $@.o
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -c fuzz/replay.c -o $@-replay.o
	@$(COVERAGE_CC) -fprofile-instr-generate $@.o $@-replay.o $(COVERAGE_FUZZ_LIB) \
	    $(COVERAGE_RIGS) $(COVERAGE)/libdragoman.a -lcmocka -lfdt -o $@

coverage-programs: $(COVERAGE_TESTS) $(COVERAGE_FUZZ)
	@:
coverage: coverage-programs
	@tools/coverage.sh $(PATH_ROOMS)
