/* SPDX-License-Identifier: MIT */
/*
 * sdhci/status: the meaning of each error of controller and card for a transfer
 *
 * Two tables: the controller's error bits (SDHC 2.2.18), and those of the card's status word in its
 * responses (SD 4.10.1). A bit that is in neither table is unknown: a few tries, then an error.
 *
 * If several bits are set the first row decides. Of the controller's, the errors of the lines come
 * first, because they can cause the others. Of the card's, what no retry changes comes first.
 *
 * Bits of the card's status that are in no row are not read: 22 and 23 belong to the command before
 * this one, which had no response; 15, 16, 24, 27 and 28 belong to commands that are not used.
 */
#include <drivers/sdhci/internal.h>

struct row {
    uint8_t bit;
    uint8_t verdict; /* enum sdhci_verdict */
    const char *text;
};

static const struct row controller_rows[] = {
    {16, SDHCI_PASSING, "the card does not respond to a command"},
    {17, SDHCI_PASSING, "a response is damaged (CRC)"},
    {18, SDHCI_PASSING, "a response is damaged (end bit)"},
    {19, SDHCI_PASSING, "a response to another command"},
    {20, SDHCI_PASSING, "the card sends no data"},
    {21, SDHCI_PASSING, "data is damaged (CRC)"},
    {22, SDHCI_PASSING, "data is damaged (end bit)"},
    {23, SDHCI_UNKNOWN, "the card draws too much current"},
    {24, SDHCI_PASSING, "the end of a transfer has failed (CMD12)"},
    {25, SDHCI_UNKNOWN, "the controller cannot read its descriptors (ADMA)"},
};

static const struct row card_rows[] = {
    {31, SDHCI_REFUSED, "the card: block out of range"},
    {30, SDHCI_REFUSED, "the card: misaligned address"},
    {29, SDHCI_REFUSED, "the card: wrong block length"},
    {26, SDHCI_REFUSED, "the card: write protected"},
    {21, SDHCI_MEDIA, "the card cannot correct its data (ECC)"},
    {20, SDHCI_MEDIA, "the card's controller reports an error"},
    {19, SDHCI_MEDIA, "the card reports an error"},
};

static enum sdhci_verdict look_up(const struct row *rows, size_t count, uint32_t bits,
                                  const char **text)
{
    for (size_t i = 0; i < count; i++) {
        if (bits >> rows[i].bit & 1) {
            *text = rows[i].text;
            return (enum sdhci_verdict)rows[i].verdict;
        }
    }
    *text = "an unknown error";
    return SDHCI_UNKNOWN;
}

enum sdhci_verdict dgm_sdhci_controller_verdict(uint32_t status, const char **text)
{
    return look_up(controller_rows, sizeof controller_rows / sizeof controller_rows[0], status,
                   text);
}

enum sdhci_verdict dgm_sdhci_card_verdict(uint32_t r1, const char **text)
{
    return look_up(card_rows, sizeof card_rows / sizeof card_rows[0], r1, text);
}
