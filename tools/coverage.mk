# SPDX-License-Identifier: MIT
#
# coverage.mk: the hosted tests with every branch of core/ counted. Included by the root Makefile.
#
#   coverage   builds them, runs them and says how much of core/ they reach, as TAP; see
#              tools/coverage.sh
#
# By clang, whose counters know each condition, and without sanitizers, whose checks are branches too.
# Only core/ is counted; what is around it is built as always.

COVERAGE        := $(BUILD)/coverage
COVERAGE_CC     ?= clang
COVERAGE_CFLAGS := $(filter-out -Werror $(SANITIZE),$(UNIT_CFLAGS)) -Wno-unused-function
COVERAGE_COUNT  := -fprofile-instr-generate -fcoverage-mapping
COVERAGE_CORE   := $(patsubst %.c,$(COVERAGE)/%.o,$(wildcard core/*.c))
COVERAGE_OTHERS := $(patsubst %.c,$(COVERAGE)/%.o,$(filter-out core/%,$(HOST_SRC)))
COVERAGE_TESTS  := $(patsubst tests/unit/%.c,$(COVERAGE)/tests/%,$(wildcard tests/unit/test_*.c))
COVERAGE_FUZZ   := $(FUZZ_NAMES:%=$(COVERAGE)/fuzz/%)
COVERAGE_HEADERS := $(HEADERS) Makefile tools/coverage.mk
.SECONDARY: $(COVERAGE_CORE) $(COVERAGE_OTHERS)
.PHONY: coverage coverage-programs

$(COVERAGE)/core/%.o: core/%.c $(COVERAGE_HEADERS) | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) $(COVERAGE_COUNT) -c $< -o $@

$(COVERAGE)/%.o: %.c $(COVERAGE_HEADERS) | $(BUILD)/xen-headers/xen
	@mkdir -p $(@D)
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -c $< -o $@

$(COVERAGE)/libdragoman.a: $(COVERAGE_CORE) $(COVERAGE_OTHERS)
	@rm -f $@
	@ar rcs $@ $^

# Counting at the link only: the tests' own branches are of no interest.
$(COVERAGE)/tests/%: tests/unit/%.c $(wildcard tests/unit/*.h) $(COVERAGE)/libdragoman.a
	@mkdir -p $(@D)
	@echo "  COVER  $<"
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -Itests/unit -c $< -o $@.o
	@$(COVERAGE_CC) -fprofile-instr-generate $@.o $(COVERAGE)/libdragoman.a -lcmocka -lfdt -o $@

$(COVERAGE)/fuzz/%: fuzz/%.c fuzz/replay.c fuzz/feed.h $(wildcard tests/unit/*) \
    $(COVERAGE)/libdragoman.a
	@mkdir -p $(@D)
	@echo "  COVER  $<"
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -c $< -o $@.o
	@$(COVERAGE_CC) $(COVERAGE_CFLAGS) -c fuzz/replay.c -o $@-replay.o
	@$(COVERAGE_CC) -fprofile-instr-generate $@.o $@-replay.o $(COVERAGE)/libdragoman.a -lcmocka -lfdt -o $@

coverage-programs: $(COVERAGE_TESTS) $(COVERAGE_FUZZ)
	@:
coverage: coverage-programs
	@tools/coverage.sh
