/* SPDX-License-Identifier: MIT */
/*
 * driver: the description of a disk driver, and its registration in an image
 *
 * A driver is one `struct dgm_disk_driver`, registered by one line beside it:
 *
 *     const struct dgm_disk_driver dgm_nvme_driver = {.name = "nvme", ...};
 *     DGM_DISK_DRIVER(dgm_nvme_driver);
 *
 * The line puts a pointer into a separate section, which the domain's link gathers into one table
 * (kernel/arm64/link.ld). So a driver is in the image if its object file is; no list names it. An
 * embedder without that section calls the driver's start function itself.
 */
#ifndef DRAGOMAN_DRIVERS_DRIVER_H
#define DRAGOMAN_DRIVERS_DRIVER_H

#include <dragoman/drivers/blkdev.h>
#include <dragoman/drivers/device_env.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_disk_driver {
    /* Its disks are NAME0, NAME1, ...: every controller has a number, even if it cannot be used.
     * Controllers with a node in the device tree come first, in its order, then those on PCI, in
     * the order of the bus. At most 11 letters. */
    const char *name;
    /* Its controllers are PCI functions whose masked class code equals pci_class (mask 0: none),
     * and nodes of the device tree that are compatible with an entry of this NULL-terminated list.
     * A driver with neither has one disk without a device: env->mmio and env->irq_bind are NULL. */
    uint32_t pci_class, pci_class_mask;
    const char *const *compatible;
    size_t state_bytes; /* of the state, which begins with its struct dgm_blkdev */
    /* Starts the disk of `env`. `state` is zeroed, and both stay valid permanently. DGM_OK: the
     * disk's `ready` or `failed` follows, immediately or minutes later. Negative: the disk cannot
     * be used, and a log line states why. */
    int (*start)(void *state, struct dgm_device_env *env);
};

#define DGM_DISK_DRIVER(driver)                                                                    \
    static const struct dgm_disk_driver *const driver##_registered                                 \
        __attribute__((used, section(".dgm_disk_drivers"))) = &(driver)

#ifdef __cplusplus
}
#endif

#endif
