/* SPDX-License-Identifier: MIT */
/*
 * machine: the PV guest's memory, and its end
 *
 * All memory of the tests is static, so that Xen's boot mapping covers it with page tables: guest
 * frame g is at VIRT_BASE + 4096 g. The p2m is the list that Xen made at start and never reads
 * again; the m2p is Xen's, readable to every PV guest.
 */
#ifndef X86_PV_MACHINE_H
#define X86_PV_MACHINE_H

#include "layout.h"

#include <dragoman/pages/contig.h>

#define FRAMES_MAX 512

/* Memory for tests: FRAMES_MAX frames. */
extern uint8_t region[FRAMES_MAX][DGM_FRAME_BYTES];
struct dgm_gfn_range region_part(uint64_t first, uint64_t count);

_Noreturn void machine_end(void); /* reboots, which ends QEMU (-no-reboot) */

/* --- PV only --- */

struct start_info;
void machine_start(struct start_info *info);

/* The port's half of contig. */
extern const struct dgm_contig_port machine_contig_port;

/*
 * A planted fault: unmap keeps this frame's mapping, as if a driver still used it. DGM_GFN_NONE:
 * none.
 */
extern dgm_gfn_t machine_left_mapped;

/* A planted fault: the next so many calls of remap fail and do nothing. */
extern unsigned machine_remap_failures;

/* Permutes the machine frames of `range` so that hardly any two stay adjacent. `count` is
 * a power of two. */
void machine_scatter(struct dgm_gfn_range range);

/* The machine frame behind a page of ours. */
uint64_t machine_mfn(const void *va);

/* Shows machine address `address` at the page `va` of ours, whose own frame is not mapped until
 * machine_show(va, its own). `flags`: beyond present and writable. 0 or negative errno. */
long machine_show(void *va, uint64_t address, uint64_t flags);
long machine_hide(void *va);

#define PAGE_UNCACHED 0x18 /* PCD, PWT */

/* The number of runs of adjacent machine frames in `range`. */
uint64_t machine_runs(struct dgm_gfn_range range);

/* The number of frames of `range` with a wrong entry in Xen's m2p. */
uint64_t machine_m2p_wrong(struct dgm_gfn_range range);

/* The number of frames of `range` at or above 2^bits bytes. */
uint64_t machine_above(struct dgm_gfn_range range, unsigned bits);

#endif
