/* SPDX-License-Identifier: MIT */
/* chain: see chain.h. */
#include <net/chain.h>

#include <dragoman/base/check.h>

static enum dgm_chain_expects expects_after_slot(const struct dgm_chain *chain, uint16_t flags)
{
    if (!(flags & NETTXF_more_data))
        return DGM_CHAIN_END;
    return chain->slots == DGM_CHAIN_SLOTS_MAX ? DGM_CHAIN_BROKEN : DGM_CHAIN_PIECE;
}

static void add_slot(struct dgm_chain *chain, const struct netif_tx_request *request)
{
    const uint16_t index = chain->slots++;

    chain->ids[index] = request->id;
    chain->pieces[index] = (struct dgm_chain_piece){
        .ref = request->gref, .offset = request->offset, .bytes = request->size};
    if (index > 0) {
        chain->rest += request->size;
        chain->expects = expects_after_slot(chain, request->flags);
        return;
    }
    chain->length = request->size;
    chain->flags = request->flags;
    chain->expects = request->flags & NETTXF_extra_info ? DGM_CHAIN_EXTRA
                                                        : expects_after_slot(chain, request->flags);
}

static void add_large(struct dgm_chain *chain, const struct netif_extra_info *extra)
{
    chain->mss = extra->u.gso.size;
    if (extra->u.gso.type == XEN_NETIF_GSO_TYPE_TCPV4)
        chain->large_ip = 4;
    else if (extra->u.gso.type == XEN_NETIF_GSO_TYPE_TCPV6)
        chain->large_ip = 6;
    else
        chain->extras_refused = true;
}

static void add_extra(struct dgm_chain *chain, const struct netif_extra_info *extra)
{
    chain->extras++;
    if (extra->type == XEN_NETIF_EXTRA_TYPE_GSO && !chain->large_ip)
        add_large(chain, extra);
    else
        chain->extras_refused = true;
    if (!(extra->flags & XEN_NETIF_EXTRA_FLAG_MORE))
        chain->expects = expects_after_slot(chain, chain->flags);
    else if (chain->extras == DGM_CHAIN_EXTRAS_MAX)
        chain->expects = DGM_CHAIN_BROKEN;
}

enum dgm_chain_expects dgm_chain_add(struct dgm_chain *chain, const void *entry)
{
    struct netif_tx_request request;
    struct netif_extra_info extra;

    _Static_assert(sizeof request == 12 && sizeof extra <= 12, "xen/io/netif.h");
    dgm_assert(chain->expects < DGM_CHAIN_END);
    if (chain->expects == DGM_CHAIN_EXTRA) {
        __builtin_memcpy(&extra, entry, sizeof extra);
        add_extra(chain, &extra);
    } else {
        __builtin_memcpy(&request, entry, sizeof request);
        add_slot(chain, &request);
    }
    return chain->expects;
}

enum dgm_netback_refusal dgm_chain_check(struct dgm_chain *chain)
{
    dgm_assert(chain->expects == DGM_CHAIN_END);
    if (chain->slots > DGM_CHAIN_PIECES_MAX)
        return DGM_NETBACK_SLOTS_TOO_MANY;
    if (chain->extras_refused)
        return DGM_NETBACK_EXTRA_NOT_OFFERED;
    if (chain->length < DGM_PACKET_BYTES_MIN)
        return DGM_NETBACK_TOO_SHORT;
    if (chain->rest >= chain->length)
        return DGM_NETBACK_SIZES_DISAGREE;
    chain->pieces[0].bytes = (uint16_t)(chain->length - chain->rest);
    for (uint16_t i = 0; i < chain->slots; i++) {
        const struct dgm_chain_piece *piece = &chain->pieces[i];

        if (piece->bytes == 0 || piece->offset > DGM_FRAME_BYTES ||
            piece->bytes > DGM_FRAME_BYTES - piece->offset)
            return DGM_NETBACK_PIECE_BOUNDS;
    }
    return DGM_NETBACK_ACCEPTED;
}
