/* SPDX-License-Identifier: MIT */
/*
 * nvme: a disk behind an NVM Express controller
 *
 * One controller, its first active namespace, one pair of I/O queues with up to 63 commands in
 * flight. The caller provides state_bytes of memory; start() takes 36 frames for queues and PRP
 * lists from env->frames, and later code takes none. The state begins with its struct dgm_blkdev:
 * that is all of it that other code uses.
 *
 * What a device may do, and what the driver does:
 *   reports a temporary error              the command is sent again, with growing pauses, for
 *   (not ready, format in progress, ...)   times.retry_ns; only then it ends with DGM_EIO
 *   reports a media error                  a few more tries unless the device forbids them (its "do
 *                                          not retry" bit), then DGM_EIO
 *   is slow                                nothing: a device that completes any command is alive
 *   completes nothing for times.stall_ns,  reset; the commands are sent again afterwards. A command
 *   or reports a fatal status              that was lost in three resets, without any completion in
 *                                          between, ends with DGM_ETIMEDOUT after times.retry_ns
 *   forgets a command                      reset: several queues of later ones overtook it, or one
 *                                          did and it has waited for ten times times.stall_ns
 *   leaves the bus, or loses its           its queue waits for times.lost_ns; env->restore()
 *   configuration (the link dropped)       restores it, and it is reset as above
 *   returns as another disk                device.failed: serial, namespace and size must be equal
 *   fails a flush permanently              device.failed: written data may be lost, so no later
 *                                          write may appear to succeed
 *   does not return                        device.failed: every command ends with DGM_EIO
 *   completes a command that is not        counted and ignored; commands in flight stay
 *   in flight                              in flight
 *   raises no interrupt                    a poll of the queue finds the completion, and the next
 *                                          polls follow soon
 *   raises a level interrupt and posts     the line is masked at the device, which is polled
 *   nothing, a hundred times in a row
 *
 * A command ends only when the controller can no longer access its memory: it was completed, or the
 * controller is disabled, or env->dma_stop has cut it off. All code runs in the reactor's loop and
 * never blocks.
 */
#ifndef DRAGOMAN_DRIVERS_NVME_H
#define DRAGOMAN_DRIVERS_NVME_H

#include <dragoman/drivers/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * start() takes the memory that the driver needs, binds the interrupt and starts the initialisation
 * of the controller. DGM_OK: the disk's `ready` or `failed` follows, immediately or minutes later,
 * and env->changed is called then. The disk's name is env->name until the caller changes it. The
 * state and `env` stay valid permanently, even after an error (the interrupt may be bound).
 * DGM_ENODEV: too few registers. DGM_ENOMEM, DGM_ERANGE: too few frames are free, or the controller
 * does not reach them. Otherwise the error of env->irq_bind. After any error the disk has failed,
 * and that is logged.
 */
extern const struct dgm_disk_driver dgm_nvme_driver;

#ifdef __cplusplus
}
#endif

#endif
