/* SPDX-License-Identifier: MIT */
/* sdhci/start: memory, the properties of the controller's node, and the start */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/text.h>

#include <string.h>

/* --- the device tree (bindings "mmc-controller" and "arasan,sdhci") --- */

/* Arasan's controllers keep the standard's registers. */
static const char *const compatible[] = {"xlnx,zynqmp-8.9a", "arasan,sdhci-8.9a", NULL};

/*
 * Reads the properties of the controller's node. The ZynqMP's controller violates the timing of
 * default speed at 25 MHz, so its card runs at 19 MHz; and no Arasan controller works with an
 * undivided clock.
 */
static void read_node(struct dgm_sdhci *sdhci)
{
    const struct dgm_device_env *env = sdhci->env;
    uint32_t value;

    if (!env->property)
        return;
    if (dgm_text_equal(env->compatible, "xlnx,zynqmp-8.9a"))
        sdhci->transfer_khz = SDHCI_TRANSFER_ZYNQMP_KHZ;
    sdhci->divides = true;
    if (env->property(env, "max-frequency", &value) && value >= SDHCI_SLOWEST_HZ &&
        value / 1000 < sdhci->transfer_khz)
        sdhci->transfer_khz = value / 1000;
    sdhci->one_line = env->property(env, "bus-width", &value) && value == 1;
    sdhci->fixed = env->property(env, "non-removable", &value);
    sdhci->undetected = sdhci->fixed || env->property(env, "broken-cd", &value) ||
                        env->property(env, "cd-gpios", &value);
    sdhci->unprotected = env->property(env, "disable-wp", &value);
}

static int descriptors_take(struct dgm_sdhci *sdhci)
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

static int prepare_host(struct dgm_sdhci *sdhci)
{
    int status;

    if (sdhci->env->mmio_bytes < SDHCI_BYTES)
        return dgm_sdhci_refuse(sdhci, DGM_ENODEV, "too few registers");
    if (sdhci->device.tag.mask > UINT32_MAX)
        sdhci->device.tag.mask = UINT32_MAX;
    status = descriptors_take(sdhci);
    if (status != DGM_OK)
        return status;
    status = sdhci->env->irq_bind(sdhci->env, &sdhci->irq);
    return status ? dgm_sdhci_refuse(sdhci, status, "no interrupt") : DGM_OK;
}

int dgm_sdhci_start(struct dgm_sdhci *sdhci, struct dgm_device_env *env)
{
    struct dgm_text name;
    int status;

    memset(sdhci, 0, sizeof *sdhci);
    sdhci->env = env;
    sdhci->irq.handle = dgm_sdhci_irq;
    sdhci->task.run = dgm_sdhci_run;
    sdhci->timer.fire = dgm_sdhci_timer;
    sdhci->device.ops = &dgm_sdhci_ops;
    sdhci->device.tag = env->tag;
    sdhci->times = dgm_device_times(&env->times);
    sdhci->poll_pause_ns = SDHCI_POLL_MAX_NS;
    sdhci->transfer_khz = SDHCI_TRANSFER_KHZ;
    read_node(sdhci);
    name = dgm_text(sdhci->device.name, sizeof sdhci->device.name);
    dgm_text_add(&name, env->name);

    status = prepare_host(sdhci);
    if (status != DGM_OK) {
        sdhci->state = DGM_SDHCI_FAILED;
        sdhci->device.failed = true;
        return status;
    }
    sdhci->give_up_ns = dgm_env_now_ns() + sdhci->times.start_ns;
    dgm_sdhci_enter(sdhci, DGM_SDHCI_LOST, UINT64_MAX);
    dgm_sdhci_advance(sdhci);
    return DGM_OK;
}

/* --- the driver in an image --- */

static int start_host(void *state, struct dgm_device_env *env)
{
    return dgm_sdhci_start(state, env);
}

_Static_assert(offsetof(struct dgm_sdhci, device) == 0, "the state begins with its disk");

const struct dgm_disk_driver dgm_sdhci_driver = {
    .name = "sd",
    .pci_class = DGM_SDHCI_PCI_CLASS,
    .pci_class_mask = DGM_SDHCI_PCI_CLASS_MASK,
    .compatible = compatible,
    .state_bytes = sizeof(struct dgm_sdhci),
    .start = start_host,
};
DGM_DISK_DRIVER(dgm_sdhci_driver);
