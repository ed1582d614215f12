/* SPDX-License-Identifier: MIT */
/*
 * status: what the library's functions return
 *
 * 0 is success, a positive number is a count, a negative one is an error with errno's value on
 * Linux and Xen (both number them alike), so that a hypercall's result passes through unchanged.
 * Calls that act on many things return a status per thing, never one for the batch.
 *
 *   DGM_EAGAIN     not now; nothing is held. The function says on what to wait
 *   DGM_EDQUOT     not now for this guest: it has all that it may have at once
 *   DGM_EPERM      Xen refused what a guest named, a grant mostly: the guest's fault
 *   DGM_EFAULT     no memory of ours, or none that Xen can write to
 *   DGM_ERANGE     out of a device's reach; or a text that does not fit
 *   DGM_ENOMEM     no frames: the pool's (only while starting), or Xen's
 *   DGM_ENOSPC     a table or the store is full
 *   DGM_EIO        a device, or Xen for it, said no
 *   DGM_ETIMEDOUT  a device said nothing
 *
 * The others mean what errno.h says.
 */
#ifndef DRAGOMAN_BASE_STATUS_H
#define DRAGOMAN_BASE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

enum dgm_status {
    DGM_OK = 0,
    DGM_EPERM = -1,
    DGM_ENOENT = -2,
    DGM_ESRCH = -3,
    DGM_EIO = -5,
    DGM_E2BIG = -7,
    DGM_EAGAIN = -11,
    DGM_ENOMEM = -12,
    DGM_EACCES = -13,
    DGM_EFAULT = -14,
    DGM_EBUSY = -16,
    DGM_EEXIST = -17,
    DGM_ENODEV = -19,
    DGM_EISDIR = -21,
    DGM_EINVAL = -22,
    DGM_ENOSPC = -28,
    DGM_EROFS = -30,
    DGM_ERANGE = -34,
    DGM_ENOSYS = -38,
    DGM_ENOTEMPTY = -39,
    DGM_EPROTO = -71,
    DGM_EOPNOTSUPP = -95,
    DGM_EISCONN = -106,
    DGM_ETIMEDOUT = -110,
    DGM_EDQUOT = -122,
};

#ifdef __cplusplus
}
#endif

#endif
