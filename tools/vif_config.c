/* SPDX-License-Identifier: MIT */
/* vif_config.c: see vif_config.h. */
#include "vif_config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "must.h"

#define VIF_AT "%s:%d: vif '%s': "

enum {
    BRIDGE_LENGTH_MAX = 15, /* of the domain, kernel/config.h */
    KEY_COUNT = 8,          /* that are honoured */
};

/* Keys of xl that Dragoman does not support, and what to do instead. */
static const struct {
    const char *key, *cure;
} not_honoured[] = {
    {"script", "Dragoman runs no scripts; remove it"},
    {"backend", "Dragoman itself is the backend; remove it"},
    {"model", "Dragoman emulates no card; remove it"},
    {"vifname", "Dragoman has no interfaces that a name could be given to; remove it"},
    {"gatewaydev", "Dragoman is no router; write bridge= instead"},
    {"netdev", "Dragoman is no router; write bridge= instead"},
    {"devid", "interfaces are numbered in their order; remove it"},
    {"mtu", "set it in the guest; remove it"},
    {"trusted", "frontends decide themselves; remove it"},
    {"accel", "Dragoman has no accelerated interfaces; remove it"},
};

/* "aa:bb:cc:dd:ee:ff", the address of one station. */
static bool mac_is_valid(const char *mac)
{
    bool any = false;

    for (size_t i = 0; i < 17; i++) {
        if (i % 3 == 2 ? mac[i] != ':' : !isxdigit((unsigned char)mac[i]))
            return false;
        any |= i % 3 != 2 && mac[i] != '0';
    }
    return mac[17] == '\0' && any && strchr("13579bBdDfF", mac[1]) == NULL;
}

/* FNV-1a of the name and the index, in the range of addresses that Xen has for this. */
static void derive_mac(struct vif_config *vif, const char *guest_name, size_t index)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (const char *at = guest_name; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
    hash = (hash ^ (0x100 + index)) * 0x100000001b3u;
    hash ^= hash >> 32;
    snprintf(vif->mac, sizeof vif->mac, "00:16:3e:%02x:%02x:%02x", (unsigned)(hash >> 16 & 0xff),
             (unsigned)(hash >> 8 & 0xff), (unsigned)(hash & 0xff));
}

static void take_mac(struct vif_config *vif, const char *spec, const char *value)
{
    if (vif->mac[0] != '\0')
        die(VIF_AT "mac is given twice; remove one of them", vif->file, vif->line, spec);
    if (!mac_is_valid(value))
        die(VIF_AT "mac must be the address of one station, as in mac=00:16:3e:01:02:03, not '%s'",
            vif->file, vif->line, spec, value);
    for (size_t i = 0; i < sizeof vif->mac; i++)
        vif->mac[i] = (char)tolower((unsigned char)value[i]);
}

static void take_vlans(struct vif_config *vif, const char *spec,
                       const char *(*read)(struct vif_vlans *vlans, const char *text),
                       const char *text)
{
    if (vif->vlans.untagged != 0 || vif->vlans.any_tagged)
        die(VIF_AT "its VLANs are given twice; remove one of them", vif->file, vif->line, spec);
    const char *wrong = read(&vif->vlans, text);
    if (wrong != NULL)
        die(VIF_AT "VLANs '%s': %s", vif->file, vif->line, spec, text, wrong);
}

/* One address, or a prefix, as in 10.0.0.0/24. */
static bool add_ip(struct vif_config *vif, char *text)
{
    uint8_t *record = vif->ip[vif->ip_count];
    char *bits = strchr(text, '/'), *end = NULL;

    if (bits != NULL)
        *bits++ = '\0';
    record[0] = strchr(text, ':') != NULL ? 6 : 4;
    if (inet_pton(record[0] == 6 ? AF_INET6 : AF_INET, text, record + 2) != 1)
        return false;
    const unsigned long most = record[0] == 6 ? 128 : 32;
    const unsigned long value = bits != NULL ? strtoul(bits, &end, 10) : most;
    if (value > most || (bits != NULL && (!isdigit((unsigned char)*bits) || *end != '\0')))
        return false;
    record[1] = (uint8_t)value;
    vif->ip_count++;
    return true;
}

/* As xl's scripts take it: addresses with blanks between them. */
static void take_ip(struct vif_config *vif, const char *spec, const char *value)
{
    char *rest = must_strdup(value), *word;

    if (vif->ip_count != 0)
        die(VIF_AT "ip is given twice; write the addresses with blanks between them", vif->file,
            vif->line, spec);
    while ((word = strsep(&rest, " ")) != NULL) {
        if (*word == '\0')
            continue;
        if (vif->ip_count == VIF_IP_MAX)
            die(VIF_AT "more than %d addresses; write prefixes, as in 10.0.0.0/24", vif->file,
                vif->line, spec, VIF_IP_MAX);
        if (!add_ip(vif, word))
            die(VIF_AT "'%s' is no IP address or prefix, as in ip=10.0.0.5 or ip=fd00::/64",
                vif->file, vif->line, spec, word);
    }
    if (vif->ip_count == 0)
        die(VIF_AT "ip has no address; remove it, or write one", vif->file, vif->line, spec);
}

static void take_group(struct vif_config *vif, const char *spec, const char *value)
{
    const size_t digits = strspn(value, "0123456789");

    vif->group = 0;
    if (strcmp(value, "alone") == 0)
        vif->group = VIF_GROUP_ALONE;
    else if (digits >= 1 && digits <= 5 && value[digits] == '\0' && value[0] != '0')
        vif->group = (unsigned)strtoul(value, NULL, 10);
    if (vif->group == 0 || (vif->group >= VIF_GROUP_ALONE && value[0] != 'a'))
        die(VIF_AT "group must be a number from 1 to %u, or alone, not '%s'", vif->file, vif->line,
            spec, VIF_GROUP_ALONE - 1, value);
}

static void take_mirror(struct vif_config *vif, const char *spec, const char *value)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        die(VIF_AT "mirror must be yes or no, not '%s'", vif->file, vif->line, spec, value);
    vif->mirror = value[0] == 'y';
}

static void take_bridge(struct vif_config *vif, const char *spec, const char *value)
{
    size_t length = strcspn(value, ".:");

    if (vif->bridge != NULL)
        die(VIF_AT "bridge is given twice; remove one of them", vif->file, vif->line, spec);
    if (length == 0 || length > BRIDGE_LENGTH_MAX)
        die(VIF_AT "the name of a bridge has 1 to %d characters", vif->file, vif->line, spec,
            BRIDGE_LENGTH_MAX);
    char *name = must_strdup(value);
    name[length] = '\0';
    vif->bridge = name;
    if (value[length] != '\0')
        take_vlans(vif, spec, vif_vlans_of_bridge, value + length);
}

static void take_rate(struct vif_config *vif, const struct config_text *text, const char *spec,
                      const char *value)
{
    libxl_device_nic nic;

    if (vif->rate_bytes != 0)
        die(VIF_AT "rate is given twice; remove one of them", vif->file, vif->line, spec);
    libxl_device_nic_init(&nic);
    if (xlu_vif_parse_rate(text->config, value, &nic) != 0)
        die(VIF_AT "'%s' is no rate; write it as in rate=10MB/s or rate=80Mb/s@20ms", vif->file,
            vif->line, spec, value);
    if (nic.rate_bytes_per_interval == 0 || nic.rate_bytes_per_interval > UINT32_MAX ||
        nic.rate_interval_usecs == 0)
        die(VIF_AT
            "rate %s is %llu bytes in each %lu microseconds; it must be from 1 to %lu bytes: "
            "write another interval behind the @",
            vif->file, vif->line, spec, value, (unsigned long long)nic.rate_bytes_per_interval,
            (unsigned long)nic.rate_interval_usecs, (unsigned long)UINT32_MAX);
    vif->rate_bytes = (uint32_t)nic.rate_bytes_per_interval;
    vif->rate_us = nic.rate_interval_usecs;
    libxl_device_nic_dispose(&nic);
}

static void take_field(struct vif_config *vif, const struct config_text *text, const char *spec,
                       const char *key, const char *value)
{
    if (strcmp(key, "mac") == 0) {
        take_mac(vif, spec, value);
        return;
    }
    if (strcmp(key, "bridge") == 0) {
        take_bridge(vif, spec, value);
        return;
    }
    if (strcmp(key, "rate") == 0) {
        take_rate(vif, text, spec, value);
        return;
    }
    if (strcmp(key, "vlan") == 0) {
        take_vlans(vif, spec, vif_vlans_of_list, value);
        return;
    }
    if (strcmp(key, "ip") == 0) {
        take_ip(vif, spec, value);
        return;
    }
    if (strcmp(key, "group") == 0) {
        take_group(vif, spec, value);
        return;
    }
    if (strcmp(key, "mirror") == 0) {
        take_mirror(vif, spec, value);
        return;
    }
    if (strcmp(key, "type") == 0) {
        if (strcmp(value, "vif") != 0)
            die(VIF_AT "type '%s': guests on Arm have type=vif only; the field may be left out",
                vif->file, vif->line, spec, value);
        return;
    }
    for (size_t i = 0; i < sizeof not_honoured / sizeof not_honoured[0]; i++)
        if (strcmp(key, not_honoured[i].key) == 0)
            die(VIF_AT "'%s' cannot be honoured: %s", vif->file, vif->line, spec, key,
                not_honoured[i].cure);
    die(VIF_AT
        "'%s' is no key of a vif (honoured: mac, bridge, rate, vlan, ip, type, group, mirror)",
        vif->file, vif->line, spec, key);
}

/* Removes blanks at both ends of the text. */
static char *trim_spaces(char *text)
{
    size_t length;

    text += strspn(text, " \t\n");
    length = strlen(text);
    while (length > 0 && strchr(" \t\n", text[length - 1]) != NULL)
        text[--length] = '\0';
    return text;
}

void vif_config_read(struct vif_config *vif, const struct config_text *text, const char *spec,
                     const char *guest_name, size_t index)
{
    const char *place = spec[0] != '\0' ? strstr(text->text, spec) : NULL;
    char *rest = must_strdup(spec);
    const char *keys[KEY_COUNT] = {NULL};
    size_t key_count = 0; /* each differs, so they are as many as there are keys at most */

    *vif = (struct vif_config){
        .file = text->path,
        .line = place ? config_line(text, place) : config_line_of_key(text, "vif"),
    };
    config_check_printable(text, vif->line, "the vif's string", spec);
    for (char *field = rest; field != NULL; field = rest) {
        rest = strchr(field, ',');
        if (rest != NULL)
            *rest++ = '\0';
        field = trim_spaces(field);
        char *value = strchr(field, '=');
        if (*field == '\0')
            continue;
        if (value == NULL)
            die(VIF_AT "'%s' is no field; write key=value, as in bridge=xenbr0", vif->file,
                vif->line, spec, field);
        *value++ = '\0';
        take_field(vif, text, spec, trim_spaces(field), trim_spaces(value));
        for (size_t i = 0; i < key_count; i++)
            if (strcmp(keys[i], trim_spaces(field)) == 0)
                die(VIF_AT "%s is given twice; remove one of them", vif->file, vif->line, spec,
                    keys[i]);
        keys[key_count++] = field;
    }
    if (vif->bridge == NULL)
        vif->bridge = VIF_BRIDGE_DEFAULT;
    if (vif->mac[0] == '\0')
        derive_mac(vif, guest_name, index);
}
