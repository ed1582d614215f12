/* SPDX-License-Identifier: MIT */
/*
 * sdhci/line: registers, control commands (no data, no interrupt), and the card's clock
 */
#include <drivers/sdhci/internal.h>

#include <port/arch.h>

#define CLOCK_NS 150000000ull /* until it is stable */

uint32_t dgm_sdhci_read(const struct dgm_sdhci *sdhci, uint32_t offset)
{
    return dgm_arch_mmio_read32((const volatile char *)sdhci->env->mmio + offset);
}

void dgm_sdhci_write(struct dgm_sdhci *sdhci, uint32_t offset, uint32_t value)
{
    dgm_arch_mmio_write32((volatile char *)sdhci->env->mmio + offset, value);
}

uint16_t dgm_sdhci_read16(const struct dgm_sdhci *sdhci, uint32_t offset)
{
    return dgm_arch_mmio_read16((const volatile char *)sdhci->env->mmio + offset);
}

void dgm_sdhci_write16(struct dgm_sdhci *sdhci, uint32_t offset, uint16_t value)
{
    dgm_arch_mmio_write16((volatile char *)sdhci->env->mmio + offset, value);
}

uint8_t dgm_sdhci_read8(const struct dgm_sdhci *sdhci, uint32_t offset)
{
    return dgm_arch_mmio_read8((const volatile char *)sdhci->env->mmio + offset);
}

void dgm_sdhci_write8(struct dgm_sdhci *sdhci, uint32_t offset, uint8_t value)
{
    dgm_arch_mmio_write8((volatile char *)sdhci->env->mmio + offset, value);
}

/* --- control commands: no data, no interrupt --- */

void dgm_sdhci_ask(struct dgm_sdhci *sdhci, struct sdhci_command command)
{
    dgm_sdhci_write(sdhci, SDHCI_STATUS, UINT32_MAX);
    dgm_sdhci_write(sdhci, SDHCI_ARGUMENT, command.argument);
    dgm_sdhci_write(sdhci, SDHCI_COMMAND, command.index << SDHCI_COMMAND_INDEX | command.flags);
    sdhci->command_sent = true;
}

/* Errors first: a controller may report "command complete" at the same time. */
int dgm_sdhci_poll_response(struct dgm_sdhci *sdhci)
{
    const uint32_t status = dgm_sdhci_read(sdhci, SDHCI_STATUS);

    if (status & SDHCI_STATUS_ERRORS) {
        dgm_sdhci_write8(sdhci, SDHCI_RESET, SDHCI_RESET_LINES);
        sdhci->command_sent = false;
        return status & SDHCI_STATUS_COMMAND_TIMEOUT ? DGM_ETIMEDOUT : DGM_EIO;
    }
    if (!(status & SDHCI_STATUS_COMMAND))
        return DGM_EAGAIN;
    sdhci->command_sent = false;
    return DGM_OK;
}

bool dgm_sdhci_idle(const struct dgm_sdhci *sdhci)
{
    return dgm_sdhci_read8(sdhci, SDHCI_RESET) == 0 &&
           !(dgm_sdhci_read(sdhci, SDHCI_PRESENT) & SDHCI_PRESENT_CMD_INHIBIT);
}

/*
 * The divisor is 2 * n; powers of two serve all versions (SDHC 2.2.12): 8 bits before 3.00, 10 bits
 * in two parts since.
 */
void dgm_sdhci_clock(struct dgm_sdhci *sdhci, uint32_t khz)
{
    const uint32_t most = sdhci->version >= 2 ? 512 : 128;
    const uint32_t base_khz = sdhci->base_mhz * 1000;
    uint32_t n = sdhci->divides ? 1 : 0;

    while (n < most && base_khz > khz * (n ? 2 * n : 1))
        n = n ? 2 * n : 1;
    dgm_sdhci_write16(sdhci, SDHCI_CLOCK, 0);
    dgm_sdhci_write16(sdhci, SDHCI_CLOCK,
                      (uint16_t)((n & 0xff) << 8 | (n >> 8 & 3) << 6 | SDHCI_CLOCK_ON));
    dgm_sdhci_enter(sdhci, DGM_SDHCI_CLOCKING, CLOCK_NS);
}
