/* SPDX-License-Identifier: MIT */
/*
 * nvme/status: the meaning of each status code for its command (NVMe 1.4, 4.6.1; NVMe 2.0, 3.3.3.2)
 *
 * A code that is not in the table is unknown: a few tries, then an error, and the log has the
 * number. With the "do not retry" bit the controller reports that the same command would fail
 * again; then no status is tried again, whatever its row in the table.
 *
 * The length of a row's range is part of the table because neighbours often share a meaning.
 */
#include <drivers/nvme/internal.h>

/* 4.6.1, figure 125: types */
enum { GENERIC, SPECIFIC, MEDIUM, PATH };

static const struct row {
    uint8_t type, first, last;
    uint8_t verdict; /* enum nvme_verdict */
    const char *text;
} rows[] = {
    {GENERIC, 0x00, 0x00, NVME_SUCCESS, "success"},
    {GENERIC, 0x01, 0x01, NVME_REFUSED, "invalid opcode"},
    {GENERIC, 0x02, 0x02, NVME_REFUSED, "invalid field"},
    {GENERIC, 0x03, 0x03, NVME_UNKNOWN, "identifier conflict"},
    {GENERIC, 0x04, 0x04, NVME_UNKNOWN, "data transfer error"},
    {GENERIC, 0x05, 0x05, NVME_PASSING, "aborted: power loss"},
    {GENERIC, 0x06, 0x06, NVME_PASSING, "internal error"},
    {GENERIC, 0x07, 0x07, NVME_PASSING, "aborted on request"},
    {GENERIC, 0x08, 0x08, NVME_PASSING, "aborted: queue deleted"},
    {GENERIC, 0x09, 0x0a, NVME_UNKNOWN, "fused command"},
    {GENERIC, 0x0b, 0x0b, NVME_REFUSED, "invalid namespace or format"},
    {GENERIC, 0x0c, 0x0c, NVME_UNKNOWN, "command sequence error"},
    {GENERIC, 0x0d, 0x13, NVME_REFUSED, "invalid description of memory"},
    {GENERIC, 0x14, 0x14, NVME_REFUSED, "atomic write unit exceeded"},
    {GENERIC, 0x15, 0x15, NVME_REFUSED, "operation denied"},
    {GENERIC, 0x16, 0x16, NVME_REFUSED, "invalid description of memory"},
    {GENERIC, 0x18, 0x18, NVME_REFUSED, "invalid host identifier"},
    {GENERIC, 0x19, 0x19, NVME_PASSING, "keep-alive expired"},
    {GENERIC, 0x1a, 0x1a, NVME_REFUSED, "invalid keep-alive"},
    {GENERIC, 0x1b, 0x1b, NVME_PASSING, "aborted: preempted"},
    {GENERIC, 0x1c, 0x1c, NVME_MEDIA, "sanitize failed"},
    {GENERIC, 0x1d, 0x1d, NVME_PASSING, "sanitize in progress"},
    {GENERIC, 0x1e, 0x1f, NVME_REFUSED, "invalid description of memory"},
    {GENERIC, 0x20, 0x20, NVME_REFUSED, "namespace is write protected"},
    {GENERIC, 0x21, 0x21, NVME_PASSING, "interrupted"},
    {GENERIC, 0x22, 0x22, NVME_PASSING, "transport error"},
    {GENERIC, 0x23, 0x23, NVME_REFUSED, "prohibited by lockdown"},
    {GENERIC, 0x24, 0x24, NVME_PASSING, "medium not ready"},
    {GENERIC, 0x80, 0x80, NVME_REFUSED, "block out of range"},
    {GENERIC, 0x81, 0x81, NVME_MEDIA, "capacity exceeded"},
    {GENERIC, 0x82, 0x82, NVME_PASSING, "namespace not ready"},
    {GENERIC, 0x83, 0x83, NVME_REFUSED, "reservation conflict"},
    {GENERIC, 0x84, 0x84, NVME_PASSING, "format in progress"},
    {SPECIFIC, 0x00, 0x00, NVME_REFUSED, "invalid completion queue"},
    {SPECIFIC, 0x01, 0x02, NVME_REFUSED, "invalid queue identifier or size"},
    {SPECIFIC, 0x08, 0x08, NVME_REFUSED, "invalid interrupt vector"},
    {SPECIFIC, 0x0d, 0x0f, NVME_REFUSED, "feature cannot be set"},
    {SPECIFIC, 0x80, 0x80, NVME_REFUSED, "conflicting attributes"},
    {SPECIFIC, 0x81, 0x81, NVME_REFUSED, "invalid protection information"},
    {SPECIFIC, 0x82, 0x82, NVME_REFUSED, "write to a read-only range"},
    {SPECIFIC, 0x83, 0x83, NVME_REFUSED, "command too large"},
    {MEDIUM, 0x80, 0x80, NVME_MEDIA, "write fault"},
    {MEDIUM, 0x81, 0x81, NVME_MEDIA, "unrecovered read error"},
    {MEDIUM, 0x82, 0x84, NVME_MEDIA, "end-to-end check failed"},
    {MEDIUM, 0x85, 0x85, NVME_MEDIA, "compare failure"},
    {MEDIUM, 0x86, 0x86, NVME_REFUSED, "access denied"},
    {MEDIUM, 0x87, 0x87, NVME_MEDIA, "block was deallocated"},
    {MEDIUM, 0x88, 0x88, NVME_MEDIA, "end-to-end check failed"},
    {PATH, 0x00, 0x00, NVME_PASSING, "internal path error"},
    {PATH, 0x01, 0x01, NVME_REFUSED, "path lost permanently"},
    {PATH, 0x02, 0x02, NVME_PASSING, "path inaccessible"},
    {PATH, 0x03, 0x03, NVME_PASSING, "path in transition"},
    {PATH, 0x60, 0x60, NVME_PASSING, "controller's path error"},
    {PATH, 0x70, 0x71, NVME_PASSING, "host's path error"},
};

enum nvme_verdict dgm_nvme_verdict(uint32_t status, const char **text)
{
    const uint32_t type = NVME_STATUS_TYPE(status);
    const uint32_t code = NVME_STATUS_CODE(status);
    enum nvme_verdict verdict = NVME_UNKNOWN;

    *text = "unknown status";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];

        if (row->type == type && code >= row->first && code <= row->last) {
            *text = row->text;
            verdict = (enum nvme_verdict)row->verdict;
            break;
        }
    }
    if (verdict != NVME_SUCCESS && (status & NVME_STATUS_DO_NOT_RETRY))
        verdict = NVME_REFUSED;
    return verdict;
}
