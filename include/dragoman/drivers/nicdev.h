/* SPDX-License-Identifier: MIT */
/*
 * nicdev: what a driver of a network card offers
 *
 * A card sends and receives Ethernet frames without their checksum (FCS), each in one frame of our
 * own memory. A card that cuts large packets (net/packet.h) sends those too, whose bytes lie in
 * several frames. The user of the card (the client) owns that memory. It lends a buffer with
 * transmit() or supply(), and the driver returns each exactly once: with client->sent() or
 * client->received(), from the reactor's loop, never from inside a call of the client. kick() rings
 * the doorbell once for a batch.
 *
 * A driver maintains caches and computes bus addresses itself. Its only memory is that of its
 * descriptors.
 *
 * A card that fails returns all buffers and takes no more: transmit buffers as sent, receive
 * buffers with an error. A card without link takes no transmit buffers; a card that is being reset,
 * or has left the bus, has no link.
 */
#ifndef DRAGOMAN_DRIVERS_NICDEV_H
#define DRAGOMAN_DRIVERS_NICDEV_H

#include <dragoman/drivers/device_env.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest Ethernet frame that cards carry: 1,500 bytes, the header, one VLAN tag. */
#define DGM_NIC_FRAME_BYTES_MAX 1518u
/* The room that a card needs for a received frame. */
#define DGM_NIC_BUFFER_BYTES 2048u

#define DGM_NIC_FRAMES_MAX 16u /* of a large packet */

/* A buffer: DGM_FRAME_BYTES of memory, a whole frame. */
struct dgm_nic_frame {
    dgm_gfn_t gfn;
    uint16_t bytes; /* of the packet at the frame's start: to send, or received */
    /* To send, if nic->fills_checksums: where the card begins to sum, and where it writes the sum,
     * in bytes into the packet, to whose end it sums. checksum_at 0: the packet is complete. */
    uint16_t checksum_start, checksum_at;
    /* To send, a large packet, if nic->cuts_ip4 or nic->cuts_ip6; its checksum is left to the card.
     * Frame number i of `count` is base + frames[i]; all but the last one are full. */
    uint16_t mss;          /* of the payload in each packet that is cut from it; 0: not large */
    uint16_t header_bytes; /* before the payload */
    uint8_t ip;            /* 4 or 6 */
    uint8_t count;
    const uint16_t *frames;
    dgm_gfn_t base;
};

struct dgm_nicdev;

struct dgm_nicdev_ops {
    /* DGM_OK: taken. DGM_EAGAIN: the queue is full. DGM_ERANGE: the card does not reach the buffer.
     * DGM_EIO: no link, or failed. Asserts: bytes from 14 to bytes_max, unless it is large. */
    int (*transmit)(struct dgm_nicdev *nic, struct dgm_nic_frame *frame);
    /* Lends a buffer to receive into. Results as of transmit(); DGM_EAGAIN: the card has enough
     * buffers. */
    int (*supply)(struct dgm_nicdev *nic, struct dgm_nic_frame *frame);
    /* Announces to the card the buffers taken since the last call. */
    void (*kick)(struct dgm_nicdev *nic);
};

/* The user of a card; set before the card is ready. */
struct dgm_nic_client {
    void (*sent)(struct dgm_nic_client *client, struct dgm_nic_frame *frame);
    /* status DGM_OK: a good packet of frame->bytes. DGM_EIO: it was damaged, or the card failed. */
    void (*received)(struct dgm_nic_client *client, struct dgm_nic_frame *frame, int status);
    /* After the last sent() or received() of a turn, and when ready, failed or link changed. */
    void (*changed)(struct dgm_nic_client *client);
};

struct dgm_nicdev {
    const struct dgm_nicdev_ops *ops;
    struct dgm_nic_client *client; /* NULL: no client uses the card, and it stays idle */
    char name[16];                 /* "e1000e0" */
    const char *model;
    bool ready;  /* becomes true once, and stays true */
    bool failed; /* permanently */
    bool link;
    bool fills_checksums;    /* of packets to send (frame->checksum_at); fixed when it is ready, */
    bool cuts_ip4, cuts_ip6; /* as this: large packets over IPv4, IPv6 without extension headers,
                                both without tags and without CWR (RFC 3168) */
    uint64_t mac;            /* its own address (switch.h); 0: none */
    uint16_t bytes_max;      /* of a packet to send; at most DGM_NIC_FRAME_BYTES_MAX */
    uint16_t transmit_max, supply_max; /* the most buffers that it has */
    uint64_t sent, sent_bytes;         /* packets; counted by the driver */
    uint64_t received, received_bytes; /* good packets */
    uint64_t received_bad;             /* damaged ones */
    uint64_t missed;                   /* the card had no buffer, as it counts them */
    uint64_t bogus, stalls,
        interrupts; /* invalid completions; resets for no progress; interrupts */
};

/* For drivers: notifies the client, if there is one. */
static inline void dgm_nicdev_tell_client(const struct dgm_nicdev *nic)
{
    if (nic->client)
        nic->client->changed(nic->client);
}

/* The same, and the embedder: `ready` or `failed` has become true. */
static inline void dgm_nicdev_tell_all(const struct dgm_nicdev *nic, struct dgm_device_env *env)
{
    dgm_nicdev_tell_client(nic);
    if (env->changed)
        env->changed(env);
}

/* For drivers: the card cannot be used, for the reason that is logged. Cuts it off from memory, and
 * returns `status`. */
int dgm_nicdev_fail(struct dgm_nicdev *nic, struct dgm_device_env *env, int status,
                    const char *why);

/*
 * For drivers: a card that was lost, which has left the bus or does not end its reset; zero at the
 * start. A card may be away for any time. It keeps its receive buffers; the others are returned,
 * because guests' packets wait for them. A card that responds, and whose resets all fail for
 * times.lost_ns, has failed.
 */
struct dgm_nicdev_loss {
    const char *why;     /* NULL: it works */
    uint64_t give_up_ns; /* 0: no reset has failed since it worked, or since it was away */
};

#define DGM_NICDEV_SEEK_NS 1000000000ull /* pause between two attempts to find it */

/* The card is lost: it has no link, and is cut off from memory until it is found. Logged, unless it
 * is lost already for the same reason. */
void dgm_nicdev_lose(struct dgm_nicdev *nic, struct dgm_device_env *env,
                     struct dgm_nicdev_loss *loss, const char *why);
/* Restores a lost card on the bus. True: a card of its kind responds, and is to be reset. */
bool dgm_nicdev_find(struct dgm_device_env *env, struct dgm_nicdev_loss *loss);
/* After a reset that has failed: whether another attempt follows. */
bool dgm_nicdev_may_retry(const struct dgm_device_env *env, struct dgm_nicdev_loss *loss);
/* The card works. */
void dgm_nicdev_works(const struct dgm_nicdev *nic, const struct dgm_device_env *env,
                      struct dgm_nicdev_loss *loss);
/* The card that was found is another one than before. True: it is cut off, and the right one may be
 * in another place; false: there is none, or this one is the first. */
bool dgm_nicdev_reject(const struct dgm_nicdev *nic, struct dgm_device_env *env);

/* For drivers: dgm_device_line_unserved() of the card's line, with the log line of its masking. */
bool dgm_nicdev_line_unserved(const struct dgm_nicdev *nic, struct dgm_device_line *line,
                              struct dgm_device_env *env);

/* A driver of network cards: as struct dgm_disk_driver (driver.h). */
struct dgm_nic_driver {
    const char *name;   /* "e1000e"; at most 11 letters */
    uint16_t vendor;    /* PCI functions of this vendor */
    uint16_t ids[4];    /* and one of these; 0 ends the list */
    size_t state_bytes; /* of the state, which begins with its struct dgm_nicdev */
    /* Starts the card of `env`. `state` is zeroed; both stay valid permanently. */
    int (*start)(void *state, struct dgm_device_env *env);
};

/* Registers a driver in an image: one line beside it. */
#define DGM_NIC_DRIVER(driver)                                                                     \
    static const struct dgm_nic_driver *const driver##_registered                                  \
        __attribute__((used, section(".dgm_nic_drivers"))) = &(driver)

#ifdef __cplusplus
}
#endif

#endif
