/* SPDX-License-Identifier: MIT */
/* nvme_internal: the declarations that the two files of the simulated NVMe controller share. */
#ifndef SIM_DEVICES_NVME_INTERNAL_H
#define SIM_DEVICES_NVME_INTERNAL_H

#include <sim/devices/nvme.h>

#define PAGE 4096u

#define CC_EN 1u
#define RDY   1u
#define CFS   2u

#define CC_SHN    (3u << 14)
#define SHST_DONE (2u << 2)

#define OPCODE(command) ((command)[0] & 0xff)
#define CID(command)    ((uint16_t)((command)[0] >> 16))
#define PRP(command, n) ((command)[6 + 2 * (n)] | (uint64_t)(command)[7 + 2 * (n)] << 32)

/* nvme_io.c */
void *simnvme_memory(struct dgm_simnvme *nvme, uint64_t bus, uint32_t bytes, bool write);
void simnvme_post(struct dgm_simnvme *nvme, unsigned id, uint16_t cid, uint32_t status);
void simnvme_transfer(struct dgm_simnvme *nvme, const uint32_t *command, uint8_t *data,
                      uint32_t bytes, bool to_memory);

#endif
