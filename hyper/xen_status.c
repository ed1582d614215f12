/* SPDX-License-Identifier: MIT */
/* xen_status: the table. See dragoman/hyper/xen_status.h. */
#include <dragoman/base/status.h>
#include <hyper/internal.h>

#include <port/env.h>

#include <stddef.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

static const struct {
    const char *name;
    enum dgm_xen_meaning meaning;
} grant_statuses[] = {
    /* indexed by the negative status */
    [-GNTST_okay] = {"GNTST_okay", DGM_XEN_OK},
    /* The guest did not grant the frame, not to us, or not for writing. */
    [-GNTST_general_error] = {"GNTST_general_error", DGM_XEN_REFUSED},
    [-GNTST_bad_domain] = {"GNTST_bad_domain", DGM_XEN_NO_DOMAIN},
    [-GNTST_bad_gntref] = {"GNTST_bad_gntref", DGM_XEN_REFUSED},
    /* Our own arguments. */
    [-GNTST_bad_handle] = {"GNTST_bad_handle", DGM_XEN_UNKNOWN},
    [-GNTST_bad_virt_addr] = {"GNTST_bad_virt_addr", DGM_XEN_UNKNOWN},
    [-GNTST_bad_dev_addr] = {"GNTST_bad_dev_addr", DGM_XEN_UNKNOWN},
    [-GNTST_no_device_space] = {"GNTST_no_device_space", DGM_XEN_SHORT},
    /* A policy between us and the guest (XSM). */
    [-GNTST_permission_denied] = {"GNTST_permission_denied", DGM_XEN_UNKNOWN},
    /* The guest granted a gfn without RAM. */
    [-GNTST_bad_page] = {"GNTST_bad_page", DGM_XEN_REFUSED},
    /* Our own arguments. */
    [-GNTST_bad_copy_arg] = {"GNTST_bad_copy_arg", DGM_XEN_UNKNOWN},
    [-GNTST_address_too_big] = {"GNTST_address_too_big", DGM_XEN_UNKNOWN},
    [-GNTST_eagain] = {"GNTST_eagain", DGM_XEN_RETRY},
    /* Our maptrack table is full. */
    [-GNTST_no_space] = {"GNTST_no_space", DGM_XEN_SHORT},
};

#define GRANT_STATUSES ((int)(sizeof grant_statuses / sizeof grant_statuses[0]))

static bool is_named(int16_t status)
{
    return status <= 0 && status > -GRANT_STATUSES;
}

enum dgm_xen_meaning dgm_xen_grant_meaning(int16_t status)
{
    return is_named(status) ? grant_statuses[-status].meaning : DGM_XEN_UNKNOWN;
}

const char *dgm_xen_grant_status_name(int16_t status)
{
    return is_named(status) ? grant_statuses[-status].name : NULL;
}

/* EINVAL is the guest's fault only where the guest named something: a port, or a frame. */
static bool is_guests_fault(enum dgm_xen_call call, long result)
{
    return result == DGM_EINVAL && (call == DGM_XEN_CALL_BIND || call == DGM_XEN_CALL_FOREIGN);
}

enum dgm_xen_meaning dgm_xen_call_meaning(enum dgm_xen_call call, long result)
{
    if (result >= 0)
        return DGM_XEN_OK;
    if (is_guests_fault(call, result))
        return DGM_XEN_REFUSED;
    switch (result) {
    case DGM_EAGAIN:
    case DGM_EBUSY:
        return DGM_XEN_RETRY;
    case DGM_ENOMEM:
    case DGM_ENOSPC: /* of event channels: each end of a connection returns one */
        return DGM_XEN_SHORT;
    case DGM_ESRCH:
        /* A batch names many domains, and a call about ourselves none. */
        return call == DGM_XEN_CALL_GRANT || call == DGM_XEN_CALL_OWN ? DGM_XEN_UNKNOWN
                                                                      : DGM_XEN_NO_DOMAIN;
    default: /* DGM_EPERM, DGM_EACCES, DGM_ENOSYS, DGM_EFAULT, and numbers of a newer Xen */
        return DGM_XEN_UNKNOWN;
    }
}

enum dgm_xen_meaning dgm_xen_op_meaning(struct dgm_xen_outcome outcome)
{
    enum dgm_xen_meaning meaning;

    if (outcome.status != DGM_XEN_NOT_WRITTEN)
        return dgm_xen_grant_meaning(outcome.status);
    meaning = dgm_xen_call_meaning(DGM_XEN_CALL_GRANT, outcome.result);
    return meaning == DGM_XEN_RETRY || meaning == DGM_XEN_SHORT ? meaning : DGM_XEN_UNKNOWN;
}

bool dgm_xen_patience_ends(struct dgm_xen_patience *patience)
{
    const uint32_t now_ms = (uint32_t)(dgm_env_now_ns() / 1000000);

    if (patience->tries == 0)
        patience->first_ms = now_ms;
    if (patience->tries < DGM_XEN_TRIES)
        patience->tries++;
    return patience->tries == DGM_XEN_TRIES && now_ms - patience->first_ms >= DGM_XEN_PATIENCE_MS;
}

void dgm_xen_log_unknown(struct dgm_xen_logged *logged, const char *operation,
                         struct dgm_xen_outcome outcome)
{
    const int16_t status = outcome.status;
    const bool written = status != DGM_XEN_NOT_WRITTEN;
    const uint32_t bit = 1u << (!written ? 31 : is_named(status) ? -status : 30);
    const char *const name = dgm_xen_grant_status_name(status);

    if (logged->statuses & bit)
        return;
    logged->statuses |= bit;
    if (!written)
        dgm_env_log("Xen: %s: not done, the hypercall returned %ld; it is retried", operation,
                    outcome.result);
    else
        dgm_env_log("Xen: %s: %s (status %d), which no guest causes; it is retried", operation,
                    name ? name : "a status without a name", status);
}
