/* SPDX-License-Identifier: MIT */
/*
 * sdhci: a disk that is an SD card behind an SD host controller
 *
 * One controller with one slot, one card in it: SDSC, SDHC or SDXC, at default speed with four data
 * lines. Transfers use ADMA2 or, where a controller has only that, SDMA; both form addresses of 32
 * bits, so memory above 4 GiB is bounced by the code that maps with device.tag. One command is
 * in flight at a time; up to 32 are queued here. The caller provides state_bytes of memory; start()
 * takes one frame for descriptors from env->frames, and later code takes none. The state begins
 * with its struct dgm_blkdev: that is all of it that other code uses.
 *
 * The controller is a PCI function, or has a node in the device tree, which then describes what the
 * registers do not: `max-frequency`, `bus-width` 1, and `broken-cd`, `non-removable` or `cd-gpios`
 * (the driver assumes that a card is present), `disable-wp`. Controllers whose registers deviate
 * from the standard are not supported.
 *
 * A card has no volatile cache that could be flushed: a write is durable when it ends.
 *
 * What may happen, and what the driver does:
 *   a transfer fails on the lines (CRC,   CMD and DAT lines are reset, and the command is started
 *   time out)                             again; after two tries the card is reset as well, and
 *                                         after damaged data its clock is halved. It ends with an
 *                                         error after times.retry_ns
 *   the card reports an error             the same, five tries in all; a command that the card
 *                                         refuses (range, protection) ends with DGM_EIO immediately
 *   no progress for times.stall_ns        the same; the final status is DGM_ETIMEDOUT
 *   an interrupt is lost                  a poll finds the end of the command, and the next polls
 *                                         follow soon
 *   its interrupt line stays asserted     the line is masked, and the transfers are polled
 *   the lines cannot be reset, the card   the controller is reset and the card initialised again;
 *   does not stop, the card or the        its CID must be the same. Attempts are repeated for
 *   controller is gone                    times.lost_ns; the queue waits
 *   all attempts fail                     device.failed: every command ends with DGM_EIO
 *
 * A command ends only when the controller can no longer access its memory: after a reset of the
 * lines or of the controller, or after env->dma_stop. All code runs in the reactor's loop and never
 * blocks.
 *
 * Not supported, because no use of this project needs it: PIO, UHS and high speed modes, 64-bit
 * addresses, eMMC, CMD23 (the controller sends CMD12 to end a transfer, which works with every card
 * and controller).
 */
#ifndef DRAGOMAN_DRIVERS_SDHCI_H
#define DRAGOMAN_DRIVERS_SDHCI_H

#include <dragoman/drivers/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * start() takes the memory that the driver needs, binds the interrupt and starts the initialisation
 * of controller and card. DGM_OK: the disk's `ready` or `failed` follows, immediately or later, and
 * env->changed is called then. The disk's name is env->name until the caller changes it. The state
 * and `env` stay valid permanently, even after an error (the interrupt may be bound). DGM_ENODEV:
 * too few registers. DGM_ENOMEM, DGM_ERANGE: no frame is free, or the controller does not reach it.
 * Otherwise the error of env->irq_bind. After any error the disk has failed, and that is logged.
 */
extern const struct dgm_disk_driver dgm_sdhci_driver;

#ifdef __cplusplus
}
#endif

#endif
