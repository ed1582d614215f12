/* SPDX-License-Identifier: MIT */
/*
 * keys: what the frontend wrote into xenstore: its queues and what it accepts
 *
 * With one queue the keys lie in the frontend's directory; with several, those of queue N in its
 * directory `queue-N`. A frontend that names one frame twice would let the entries of one ring
 * appear in another, so all references differ.
 */
#include <net/internal.h>

#include <dragoman/base/status.h>
#include <dragoman/base/text.h>

/* The name of a queue's key, below the frontend's directory. */
struct key_name {
    char text[40];
};

static struct key_name key_of(const struct dgm_netback_keys *keys, unsigned queue, const char *key)
{
    struct key_name name;
    struct dgm_text text = dgm_text(name.text, sizeof name.text);

    if (keys->count > 1) {
        dgm_text_add(&text, "queue-");
        dgm_text_add_number(&text, queue);
        dgm_text_add(&text, "/");
    }
    dgm_text_add(&text, key);
    return name;
}

static int read_key(struct dgm_xenbus_device *xenbus, const struct dgm_netback_keys *keys,
                    unsigned queue, const char *key, uint64_t *number)
{
    return dgm_xenbus_read_number(xenbus, key_of(keys, queue, key).text, UINT32_MAX, number);
}

/* Reads an optional number of the frontend; 0 if it is absent or invalid. */
static uint64_t read_flag(struct dgm_xenbus_device *xenbus, const char *key)
{
    uint64_t number;

    return dgm_xenbus_read_number(xenbus, key, UINT32_MAX, &number) == DGM_OK ? number : 0;
}

static int read_channels(struct dgm_xenbus_device *xenbus, struct dgm_netback_keys *keys,
                         unsigned queue)
{
    uint64_t *ports = keys->queue[queue].ports;
    int status = read_key(xenbus, keys, queue, "event-channel-tx", &ports[0]);

    if (status == DGM_OK)
        return read_key(xenbus, keys, queue, "event-channel-rx", &ports[1]);
    if (status != DGM_ENOENT)
        return status;
    status = read_key(xenbus, keys, queue, "event-channel", &ports[0]);
    ports[1] = ports[0];
    return status;
}

static int read_queue(struct dgm_xenbus_device *xenbus, struct dgm_netback_keys *keys,
                      unsigned queue)
{
    uint64_t *refs = keys->queue[queue].refs;
    int status = read_key(xenbus, keys, queue, "tx-ring-ref", &refs[0]);

    if (status == DGM_OK)
        status = read_key(xenbus, keys, queue, "rx-ring-ref", &refs[1]);
    return status == DGM_OK ? read_channels(xenbus, keys, queue) : status;
}

static uint64_t ref_of(const struct dgm_netback_keys *keys, unsigned ring)
{
    return keys->queue[ring / 2].refs[ring % 2];
}

/* True if two rings have one reference; the reason names the second one. */
static bool any_double(struct dgm_xenbus_device *xenbus, const struct dgm_netback_keys *keys)
{
    for (unsigned ring = 1; ring < 2 * keys->count; ring++)
        for (unsigned other = 0; other < ring; other++) {
            if (ref_of(keys, ring) != ref_of(keys, other))
                continue;
            const struct key_name name =
                key_of(keys, ring / 2, ring % 2 ? "rx-ring-ref" : "tx-ring-ref");
            dgm_xenbus_set_reason(xenbus, (struct dgm_xenbus_key){.key = name.text},
                                  " is the reference of another ring");
            return true;
        }
    return false;
}

/* A frontend of one queue need not say so. As beside Linux's backend, what is no number is as good
 * as absent. */
static int read_queue_count(struct dgm_netback *netback, struct dgm_netback_keys *keys)
{
    static const char key[] = "multi-queue-num-queues";
    struct dgm_xenbus_device *xenbus = &netback->xenbus;
    uint64_t count = 1;
    const int status = dgm_xenbus_read_number(xenbus, key, netback->queue_max, &count);

    keys->count = (unsigned)count;
    if (status == DGM_ERANGE)
        return status;
    if (count > 0)
        return DGM_OK;
    dgm_xenbus_set_reason(xenbus, (struct dgm_xenbus_key){.key = key, .text = "0"},
                          " is too small");
    return DGM_EINVAL;
}

static void read_features(struct dgm_netback *netback)
{
    struct dgm_xenbus_device *xenbus = &netback->xenbus;

    netback->takes_pieces = read_flag(xenbus, "feature-sg") != 0;
    netback->takes_blank_ip4 = read_flag(xenbus, "feature-no-csum-offload") == 0;
    netback->takes_blank_ip6 = read_flag(xenbus, "feature-ipv6-csum-offload") != 0;
    netback->takes_large_ip4 = netback->takes_pieces && netback->takes_blank_ip4 &&
                               read_flag(xenbus, "feature-gso-tcpv4") != 0;
    netback->takes_large_ip6 = netback->takes_pieces && netback->takes_blank_ip6 &&
                               read_flag(xenbus, "feature-gso-tcpv6") != 0;
}

int dgm_netback_read_keys(struct dgm_netback *netback, struct dgm_netback_keys *keys,
                          const char **why)
{
    struct dgm_xenbus_device *xenbus = &netback->xenbus;
    int status = read_queue_count(netback, keys);

    *why = xenbus->reason; /* of what fails first */
    for (unsigned i = 0; i < keys->count && status == DGM_OK; i++)
        status = read_queue(xenbus, keys, i);
    if (status != DGM_OK || any_double(xenbus, keys))
        return DGM_EINVAL;
    *why = "request-rx-copy: must be 1, packets are copied";
    if (read_flag(xenbus, "request-rx-copy") != 1)
        return DGM_EOPNOTSUPP;
    read_features(netback);
    return DGM_OK;
}
