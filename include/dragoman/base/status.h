/* SPDX-License-Identifier: MIT */
/*
 * status: what the library's functions return
 *
 * 0 is success, a positive number is a count, a negative number is an error with the value of errno
 * on Linux and Xen (both use the same numbers), so that a hypercall's result passes through
 * unchanged. A call that acts on many things returns one status per thing, never one for the batch.
 *
 *   DGM_EAGAIN     not possible now; nothing is held. The function says what to wait for
 *   DGM_EDQUOT     not possible now for this guest: its quota is used up
 *   DGM_EPERM      Xen refused what a guest named, in most cases a grant: the guest's fault
 *   DGM_EFAULT     not our memory, or memory that Xen cannot write to
 *   DGM_ERANGE     beyond the addresses that a device reaches; or a text that does not fit
 *   DGM_ENOMEM     no free frames: of the pool (only during the start), or of Xen
 *   DGM_ENOSPC     a table or the store is full
 *   DGM_EIO        a device, or Xen on behalf of it, refused or failed
 *   DGM_ETIMEDOUT  a device did not respond
 *
 * The others have the meaning of errno.h.
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
