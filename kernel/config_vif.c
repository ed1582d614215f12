/* SPDX-License-Identifier: MIT */
/*
 * config_vif: the network interfaces of the configuration, see config.h
 *
 * A vif with an error is left out: with a part of its configuration it could reach what it must
 * not.
 */
#include "config_keys.h"

#include <port/env.h>

#include <libfdt.h>
#include <string.h>

/* "00:16:3e:01:02:03", as a number; 0: it is not a MAC address, or a group address. */
static uint64_t parse_mac(const char *text)
{
    uint64_t mac = 0;

    for (unsigned i = 0; i < 17; i++) {
        const char c = text[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;

        if (i % 3 == 2 ? c != ':' : digit < 0)
            return 0;
        if (i % 3 != 2)
            mac = mac << 4 | (uint64_t)digit;
    }
    return text[17] || mac >> 40 & 1 ? 0 : mac;
}

/* --- the keys; each function returns NULL, or what is wrong --- */

/* "rate = <200000 20000>": bytes in each so many microseconds. */
static const char *read_rate(struct config_vif *vif, const void *fdt, int node)
{
    int bytes;
    const fdt32_t *cells = fdt_getprop(fdt, node, "rate", &bytes);

    if (!cells)
        return NULL;
    if (bytes != 2 * sizeof *cells || cells[0] == 0 || cells[1] == 0)
        return "\"rate\" must be two cells: bytes, and microseconds";
    vif->rate_bytes = fdt32_to_cpu(cells[0]);
    vif->rate_us = fdt32_to_cpu(cells[1]);
    return NULL;
}

/* "vlan = <10>" and "tagged-vlans = <20 29  40 40>", ranges. */
static const char *read_vlans(struct config_vif *vif, const void *fdt, int node)
{
    int bytes = 0, range_bytes = 0;
    const fdt32_t *untagged = fdt_getprop(fdt, node, "vlan", &bytes);
    const fdt32_t *ranges = fdt_getprop(fdt, node, "tagged-vlans", &range_bytes);
    const char *wrong =
        "\"vlan\" must be one cell, \"tagged-vlans\" pairs of cells, from 1 to 4094";

    if (untagged) {
        if (bytes != sizeof *untagged || fdt32_to_cpu(*untagged) - 1 >= DGM_VLAN_MAX)
            return wrong;
        vif->vlans.untagged = (uint16_t)fdt32_to_cpu(*untagged);
    }
    if (!ranges)
        return NULL;
    if (range_bytes == 0 || range_bytes % (int)(2 * sizeof *ranges))
        return wrong;
    vif->vlans.tagged_only = !untagged;
    for (int i = 0; i < range_bytes / (int)sizeof *ranges; i += 2) {
        const uint32_t first = fdt32_to_cpu(ranges[i]), last = fdt32_to_cpu(ranges[i + 1]);

        if (first == 0 || first > last || last > DGM_VLAN_MAX)
            return wrong;
        for (uint32_t vlan = first; vlan <= last; vlan++)
            vif->vlans.tagged.words[vlan / 64] |= 1ull << vlan % 64;
    }
    return NULL;
}

/* "ip": for each address or prefix 18 bytes: its version, its bits, the address. */
static const char *read_sources(struct config_vif *vif, const void *fdt, int node)
{
    int bytes = 0;
    const uint8_t *at = fdt_getprop(fdt, node, "ip", &bytes);

    if (!at)
        return NULL;
    if (bytes == 0 || bytes % 18 || bytes / 18 > (int)DGM_IP_PREFIXES_MAX)
        return "\"ip\" must be 1 to 8 times 18 bytes";
    for (; bytes; bytes -= 18, at += 18) {
        struct dgm_ip_prefix *prefix = &vif->sources.prefixes[vif->sources.count++];

        if ((at[0] != 4 && at[0] != 6) || at[1] > (at[0] == 4 ? 32 : 128))
            return "\"ip\" must have versions 4 and 6, and up to 32 and 128 bits";
        prefix->version = at[0];
        prefix->bits = at[1];
        memcpy(prefix->address, at + 2, sizeof prefix->address);
    }
    return NULL;
}

static const char *read_group(struct config_vif *vif, const void *fdt, int node)
{
    int bytes;
    const fdt32_t *group = fdt_getprop(fdt, node, "group", &bytes);

    vif->mirror = fdt_getprop(fdt, node, "mirror", NULL) != NULL;
    if (!group)
        return NULL;
    if (bytes != sizeof *group || fdt32_to_cpu(*group) - 1 >= UINT16_MAX)
        return "\"group\" must be one cell, from 1 to 65535";
    vif->group = (uint16_t)fdt32_to_cpu(*group);
    return NULL;
}

/* "queues": one for each vCPU of the guest. */
static const char *read_queues(struct config_vif *vif, const void *fdt, int node)
{
    int bytes;
    const fdt32_t *queues = fdt_getprop(fdt, node, "queues", &bytes);

    vif->queues = 1;
    if (!queues)
        return NULL;
    if (bytes != sizeof *queues || fdt32_to_cpu(*queues) - 1 >= DGM_NETBACK_QUEUES_MAX)
        return "\"queues\" must be one cell, from 1 to 8";
    vif->queues = (uint16_t)fdt32_to_cpu(*queues);
    return NULL;
}
_Static_assert(DGM_NETBACK_QUEUES_MAX == 8, "read_queues() states it");

/* What forbids this vif beside those before it. */
static const char *conflict_of(const struct config *config, const struct config_vif *vif)
{
    if (vif->mac == 0)
        return "\"mac\" must be the address of one station, as in 00:16:3e:01:02:03";
    for (size_t i = 0; i < config->vif_count; i++)
        if (config->vifs[i].mac == vif->mac)
            return "another vif has this \"mac\"";
    for (size_t i = 0; i < config->vif_count; i++)
        if (vif->mirror && config->vifs[i].mirror && !strcmp(config->vifs[i].bridge, vif->bridge))
            return "another vif of this bridge is its mirror";
    if (config_bridge(config, vif->bridge) == CONFIG_BRIDGES_MAX)
        return "more bridges than fit";
    return config->vif_count == CONFIG_VIFS_MAX ? "more vifs than fit" : NULL;
}

void config_read_vif(struct config *config, const void *fdt, int node, const char *guest_path,
                     uint16_t domid)
{
    static const char *const keys[] = {"mac",   "bridge", "rate", "vlan",  "tagged-vlans",
                                       "group", "mirror", "ip",   "queues"};
    struct config_vif vif = {.domid = domid};
    char path[96];

    strcpy(path, guest_path);
    strcat(path, "/");
    strncat(path, fdt_get_name(fdt, node, NULL), 31);
    config_warn_unknown(fdt, node, path, keys, sizeof keys / sizeof keys[0]);
    const char *mac = config_string(fdt, node, path, "mac", 18);
    const char *bridge = mac ? config_string(fdt, node, path, "bridge", sizeof vif.bridge) : NULL;

    if (!bridge)
        return;
    vif.mac = parse_mac(mac);
    strcpy(vif.bridge, bridge);
    const char *wrong = read_group(&vif, fdt, node);
    if (!wrong)
        wrong = conflict_of(config, &vif);
    if (!wrong)
        wrong = read_rate(&vif, fdt, node);
    if (!wrong)
        wrong = read_vlans(&vif, fdt, node);
    if (!wrong)
        wrong = read_sources(&vif, fdt, node);
    if (!wrong)
        wrong = read_queues(&vif, fdt, node);
    if (wrong)
        dgm_env_log("config: %s: %s; it is left out", path, wrong);
    else
        config->vifs[config->vif_count++] = vif;
}
