/* SPDX-License-Identifier: MIT */
/*
 * Proves: only GNTST_okay means OK for a written status, and no result of the hypercall turns an op
 * without a status into one that was done, or blames its guest; a status that is not in Xen's list
 * is UNKNOWN; a name is given exactly for those in the list. Of a whole hypercall, only ESRCH means
 * that a domain does not exist, and only EINVAL of a call in which the guest named something is
 * REFUSED.
 * Over: any status, any kind of hypercall, any result.
 *
 * sources: hyper/xen_status.c
 * options: --unwind 4
 * planted: hyper/xen_status.c s/"GNTST_bad_page", DGM_XEN_REFUSED/"GNTST_bad_page", DGM_XEN_OK/
 * planted: hyper/xen_status.c s/status <= 0 && status > -GRANT_STATUSES/status <= 0/
 * planted: hyper/xen_status.c s/meaning == DGM_XEN_SHORT \? meaning : DGM_XEN_UNKNOWN/meaning == DGM_XEN_SHORT ? meaning : DGM_XEN_REFUSED/
 * planted: hyper/xen_status.c s/if \(result >= 0\)/if (result > 0)/
 * planted: hyper/xen_status.c s/case DGM_ESRCH:/case DGM_EPERM:/
 * planted: hyper/xen_status.c s/result == DGM_EINVAL && \(call/(call/
 */
#include "proof.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/xen_status.h>
#include <hyper/internal.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#define LAST_STATUS GNTST_no_space /* the lowest number in Xen's list */

void dgm_env_log(const char *format, ...)
{
}

static void judge_call(enum dgm_xen_call call, long result)
{
    const enum dgm_xen_meaning meaning = dgm_xen_call_meaning(call, result);

    prove((meaning == DGM_XEN_OK) == (result >= 0));
    prove(meaning != DGM_XEN_NO_DOMAIN || result == DGM_ESRCH);
    prove(meaning != DGM_XEN_REFUSED ||
          (result == DGM_EINVAL && (call == DGM_XEN_CALL_BIND || call == DGM_XEN_CALL_FOREIGN)));
}

int main(void)
{
    const int16_t status = any_i16();
    const long result = (long)any_u64();
    const enum dgm_xen_meaning meaning =
        dgm_xen_op_meaning((struct dgm_xen_outcome){.status = status, .result = result});

    judge_call((enum dgm_xen_call)(any_u8() % DGM_XEN_CALLS), result);
    if (status == DGM_XEN_NOT_WRITTEN) {
        prove(meaning == DGM_XEN_RETRY || meaning == DGM_XEN_SHORT || meaning == DGM_XEN_UNKNOWN);
        return 0;
    }
    prove((meaning == DGM_XEN_OK) == (status == GNTST_okay));
    prove(meaning == dgm_xen_grant_meaning(status)); /* whatever the hypercall returned */
    if (status > 0 || status < LAST_STATUS) {
        prove(meaning == DGM_XEN_UNKNOWN);
        prove(dgm_xen_grant_status_name(status) == NULL);
    }
    return 0;
}
