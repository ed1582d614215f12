/* SPDX-License-Identifier: MIT */
/* text: if these fail, a path is overrun, or a number that a guest wrote is misread. */
#include "unit.h"

#include <dragoman/base/text.h>

/* Fails: paths are built wrong. */
static void parts_are_joined(void **state)
{
    char buffer[64];
    struct dgm_text text = dgm_text(buffer, sizeof buffer);

    assert_string_equal(buffer, "");
    dgm_text_add(&text, "/local/domain/");
    dgm_text_add_number(&text, 0);
    dgm_text_add(&text, "/x");
    dgm_text_add_number(&text, UINT64_MAX);
    assert_string_equal(buffer, "/local/domain/0/x18446744073709551615");
    assert_int_equal(text.length, strlen(buffer));
    assert_false(text.truncated);
}

/* Fails: a text that does not fit overruns, or is not marked. For every size of the buffer. */
static void a_full_buffer_is_marked(void **state)
{
    for (size_t bytes = 1; bytes < 20; bytes++) {
        char *buffer = malloc(bytes); /* so that the sanitizer sees one byte too many */
        struct dgm_text text = dgm_text(buffer, bytes);

        dgm_text_add(&text, "abc");
        dgm_text_add_number(&text, 1234567890);
        dgm_text_add(&text, "z");
        assert_int_equal(text.truncated, bytes < 15);
        assert_memory_equal(buffer, "abc1234567890z", text.length);
        assert_int_equal(buffer[text.length], 0);
        assert_int_equal(text.length, bytes < 15 ? bytes - 1 : 14);
        dgm_text_add(&text, "");
        free(buffer);
    }
}

static void cut_stays_a_prefix(void **state)
{
    char buffer[5];
    struct dgm_text text = dgm_text(buffer, sizeof buffer);

    dgm_text_add(&text, "abc");
    dgm_text_add(&text, "defg");
    dgm_text_add(&text, "h"); /* no addition after "efg" was truncated */
    assert_string_equal(buffer, "abcd");
}

static void equal_texts_are_equal(void **state)
{
    assert_true(dgm_text_equal("", ""));
    assert_true(dgm_text_equal("abc", "abc"));
    assert_false(dgm_text_equal("abc", "abcd"));
    assert_false(dgm_text_equal("abcd", "abc"));
    assert_false(dgm_text_equal("abc", "abd"));
    assert_true(dgm_text_starts("abc", ""));
    assert_true(dgm_text_starts("abc", "abc"));
    assert_false(dgm_text_starts("abc", "abcd"));
    assert_false(dgm_text_starts("xbc", "a"));
    assert_int_equal(dgm_text_length(""), 0);
    assert_int_equal(dgm_text_length("four"), 4);
}

static bool read_number(const char *string, uint64_t max, uint64_t *value)
{
    return dgm_text_number(string, strlen(string), value, max);
}

/* Fails: "4294967296" from a guest becomes ring-ref 0, or "1x" becomes 1. */
static void only_whole_numbers_in_range(void **state)
{
    uint64_t value = 77;

    assert_true(read_number("0", 0, &value) && value == 0);
    assert_true(read_number("007", 10, &value) && value == 7);
    assert_true(read_number("4294967295", UINT32_MAX, &value) && value == UINT32_MAX);
    assert_true(read_number("18446744073709551615", UINT64_MAX, &value) && value == UINT64_MAX);
    value = 77;
    assert_false(read_number("", 10, &value));
    assert_false(read_number("4294967296", UINT32_MAX, &value));
    assert_false(read_number("18446744073709551616", UINT64_MAX, &value));
    assert_false(read_number("99999999999999999999", UINT64_MAX, &value));
    assert_false(read_number("5", 4, &value));
    assert_false(read_number("1x", 100, &value));
    assert_false(read_number("-1", 100, &value));
    assert_false(read_number("+1", 100, &value));
    assert_false(read_number(" 1", 100, &value));
    assert_false(read_number("1 ", 100, &value));
    assert_int_equal(value, 77);
    assert_true(dgm_text_number("12junk", 2, &value, 100) && value == 12);
    assert_false(dgm_text_number("1\0", 2, &value, 100)); /* a NUL is not a digit */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(a_full_buffer_is_marked),
        cmocka_unit_test(cut_stays_a_prefix),
        cmocka_unit_test(equal_texts_are_equal),
        cmocka_unit_test(only_whole_numbers_in_range),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
