/* SPDX-License-Identifier: MIT */
/*
 * Proves: a text is taken as a number if and only if it is one, all digits and at most `max`, and
 * then the number is right; nothing is read beyond the length, nothing wraps.
 * Over: every text of up to 20 characters followed by no NUL, `max` from the three that have an
 * edge of their own (the largest there is, a port's 65,535, 0).
 *
 * sources: core/text.c
 * options: --unwind 22
 * planted: core/text.c s/value > \(max - digit\) \/ 10/value > max \/ 10/
 * planted: core/text.c s/digit > 9/digit > 10/
 * planted: core/text.c s/i < length; i/i <= length; i/
 */
#include "proof.h"

#include <dragoman/text.h>

#define LENGTH_MAX 20

int main(void)
{
    char string[LENGTH_MAX];
    const size_t length = any_u8();
    const uint64_t max = any_bool() ? UINT64_MAX : any_bool() ? 65535 : 0;
    unsigned __int128 value = 0;
    uint64_t number;
    bool good = length > 0;

    assume(length <= LENGTH_MAX);
    for (size_t i = 0; i < length; i++) {
        good = good && string[i] >= '0' && string[i] <= '9' && value <= max;
        value = value * 10 + (uint8_t)(string[i] - '0');
    }
    good = good && value <= max;

    prove(dgm_text_number(string, length, max, &number) == good);
    prove(!good || number == (uint64_t)value);
    return 0;
}
