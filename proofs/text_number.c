/* SPDX-License-Identifier: MIT */
/*
 * Proves: a text is accepted as a number if and only if it consists of digits and is at most `max`,
 * and then the number is correct; no byte beyond the length is read, no sum wraps.
 * Over: every text of up to three characters with `max` 255 or 0, and the same after the first 18
 * digits of UINT64_MAX, with that as `max`.
 *
 * sources: base/text.c
 * options: --unwind 22
 * planted: base/text.c s/value > \(max - digit\) \/ 10/value > max \/ 10/
 * planted: base/text.c s/digit > 9/digit > 10/
 * planted: base/text.c s/i < length; i/i <= length; i/
 */
#include "proof.h"

#include <dragoman/base/text.h>

#define EDGE       18 /* digits of UINT64_MAX / 100 */
#define CHARACTERS 3

static void check_number(const char *prefix, size_t prefix_length, unsigned __int128 value,
                         uint64_t max)
{
    char string[EDGE + CHARACTERS];
    const size_t length = any_u8() % (CHARACTERS + 1);
    uint64_t number;
    bool good = prefix_length + length > 0;

    for (size_t i = 0; i < prefix_length; i++)
        string[i] = prefix[i];
    for (size_t i = prefix_length; i < prefix_length + length; i++) {
        string[i] = (char)any_u8();
        good = good && string[i] >= '0' && string[i] <= '9';
        value = value * 10 + (uint8_t)(string[i] - '0');
    }
    good = good && value <= max;

    prove(dgm_text_number(string, prefix_length + length, &number, max) == good);
    prove(!good || number == (uint64_t)value);
}

int main(void)
{
    if (any_bool())
        check_number("184467440737095516", EDGE, UINT64_MAX / 100, UINT64_MAX);
    else
        check_number("", 0, 0, any_bool() ? 255 : 0);
    return 0;
}
