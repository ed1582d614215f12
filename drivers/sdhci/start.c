/* SPDX-License-Identifier: MIT */
/*
 * sdhci/start: what a controller can do, the tag that says so, and the way to LIVE at boot
 *
 * The tag. Addresses have 32 bits and are multiples of four. With ADMA2 a transfer is as many
 * segments as the frame of descriptors holds, of at most 64 KiB each; with SDMA it is one segment
 * that does not cross a multiple of 512 KiB, where the controller would stop and wait for us.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/text.h>
#include <port/arch.h>

#include <string.h>

/* SDHC 2.2.26 */
#define CAP_ADMA2(low)    ((low) >> 19 & 1)
#define CAP_SDMA(low)     ((low) >> 22 & 1)
#define CAP_3V3(low)      ((low) >> 24 & 1)
#define CAP_3V0(low)      ((low) >> 25 & 1)
#define CAP_CLOCK(low)    ((low) >> 8 & 0xff) /* MHz; six bits before 3.00 */
#define CAP_SLOT(low)     ((low) >> 30)
#define CAP_SLOT_EMBEDDED 1u

#define POWER_ON  1u
#define POWER_3V3 (7u << 1)
#define POWER_3V0 (6u << 1)

static int capabilities(struct dgm_sdhci *sdhci)
{
    if (sdhci->env->mmio_bytes < SDHCI_BYTES)
        return dgm_sdhci_refuse(sdhci, DGM_ENODEV, "too few registers");

    const uint32_t low = dgm_sdhci_read(sdhci, SDHCI_CAPABILITIES);

    if (low == UINT32_MAX)
        return dgm_sdhci_refuse(sdhci, DGM_ENODEV, "no registers (they read as ones)");
    sdhci->version = (uint8_t)dgm_sdhci_read16(sdhci, SDHCI_VERSION);
    sdhci->base_mhz = CAP_CLOCK(low) & (sdhci->version >= 2 ? 0xffu : 0x3fu);
    sdhci->adma = CAP_ADMA2(low);
    sdhci->embedded = CAP_SLOT(low) == CAP_SLOT_EMBEDDED;
    if (!sdhci->adma && !CAP_SDMA(low))
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the controller has no DMA");
    if (sdhci->base_mhz == 0)
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the controller does not say its clock");
    if (!CAP_3V3(low) && !CAP_3V0(low))
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the controller has no 3 V for the card");
    sdhci->power = (uint8_t)(POWER_ON | (CAP_3V3(low) ? POWER_3V3 : POWER_3V0));
    return DGM_OK;
}

static void make_tag(struct dgm_sdhci *sdhci)
{
    struct dgm_dma_tag *tag = &sdhci->device.tag;

    if (tag->mask > UINT32_MAX)
        tag->mask = UINT32_MAX;
    tag->block_bytes = 512;
    tag->gap = 0;
    tag->alignment = DGM_SDHCI_ALIGNMENT;
    tag->transfer_bytes_max = DGM_SDHCI_TRANSFER_BYTES_MAX;
    if (sdhci->adma) {
        tag->segment_bytes_max = DGM_SDHCI_SEGMENT_BYTES_MAX;
        tag->segments_max = DGM_SDHCI_DESCRIPTORS;
    } else {
        tag->segment_bytes_max = DGM_SDHCI_SDMA_BYTES_MAX;
        tag->boundary = DGM_SDHCI_SDMA_BYTES_MAX;
        tag->segments_max = 1;
    }
}

static int take_descriptors(struct dgm_sdhci *sdhci)
{
    sdhci->descriptors = dgm_frames_take_bytes(sdhci->env->frames, DGM_FRAME_BYTES);
    if (!sdhci->descriptors)
        return dgm_sdhci_refuse(sdhci, DGM_ENOMEM, "no frame for its descriptors");
    _Static_assert(DGM_SDHCI_DESCRIPTORS * sizeof sdhci->descriptors[0] <= DGM_FRAME_BYTES, "");
    if (dgm_dma_local(sdhci->env->p2m, &sdhci->device.tag, dgm_env_gfn(sdhci->descriptors),
                      &sdhci->descriptors_bus) != DGM_OK)
        return dgm_sdhci_refuse(sdhci, DGM_ERANGE, "its descriptors are out of its reach");
    return DGM_OK;
}

static int bring_up(struct dgm_sdhci *sdhci)
{
    int status = sdhci->env->irq_bind(sdhci->env, &sdhci->irq);

    if (status)
        return dgm_sdhci_refuse(sdhci, status, "no interrupt");
    dgm_sdhci_reset(sdhci);
    do {
        status = dgm_sdhci_step(sdhci);
    } while (sdhci->state != DGM_SDHCI_LIVE && (status == DGM_OK || status == DGM_EAGAIN));
    if (status)
        return status;
    if (!(dgm_sdhci_read(sdhci, SDHCI_PRESENT) & SDHCI_PRESENT_WRITABLE) && !sdhci->embedded)
        sdhci->device.read_only = true; /* the switch on the card's side */
    dgm_sdhci_write(sdhci, SDHCI_STATUS, UINT32_MAX);
    dgm_sdhci_write(sdhci, SDHCI_SIGNAL, SDHCI_STATUS_LIVE);
    return DGM_OK;
}

int dgm_sdhci_start(struct dgm_sdhci *sdhci, struct dgm_device_env *env)
{
    struct dgm_text name;
    int status;

    memset(sdhci, 0, sizeof *sdhci);
    sdhci->env = env;
    sdhci->irq.handle = dgm_sdhci_irq;
    sdhci->task.run = dgm_sdhci_io_run;
    sdhci->timer.fire = dgm_sdhci_timer;
    sdhci->device.ops = &dgm_sdhci_ops;
    sdhci->device.tag = env->tag;
    sdhci->attaching = true;
    name = dgm_text(sdhci->device.name, sizeof sdhci->device.name);
    dgm_text_add(&name, env->name);

    status = capabilities(sdhci);
    if (status == DGM_OK) {
        make_tag(sdhci);
        status = take_descriptors(sdhci);
    }
    if (status != DGM_OK) {
        sdhci->state = DGM_SDHCI_FAILED;
        sdhci->device.failed = true;
        return status;
    }
    status = bring_up(sdhci);
    sdhci->attaching = false;
    if (status != DGM_OK) {
        dgm_sdhci_fail(sdhci);
        return status;
    }
    dgm_env_log(
        "%s: SD host controller %u.00, %s; %s card, %s, serial %s: %lu blocks of 512 bytes%s",
        sdhci->device.name, sdhci->version + 1u, sdhci->adma ? "ADMA2" : "SDMA",
        sdhci->in_blocks ? "SDHC" : "SDSC", sdhci->device.model, sdhci->device.serial,
        (unsigned long)sdhci->device.blocks, sdhci->device.read_only ? ", read only" : "");
    sdhci->device.ready = true;
    if (env->changed)
        env->changed(env);
    return DGM_OK;
}

/* --- the driver in an image --- */

static int start(void *state, struct dgm_device_env *env)
{
    return dgm_sdhci_start(state, env);
}

_Static_assert(offsetof(struct dgm_sdhci, device) == 0, "the state begins with its disk");

const struct dgm_disk_driver dgm_sdhci_driver = {
    .name = "sd",
    .pci_class = DGM_SDHCI_PCI_CLASS,
    .pci_class_mask = DGM_SDHCI_PCI_CLASS_MASK,
    .state_bytes = sizeof(struct dgm_sdhci),
    .start = start,
};
DGM_DISK_DRIVER(dgm_sdhci_driver);
