/* SPDX-License-Identifier: MIT */
/* vif_vlan.c: see vif_vlan.h. */
#include "vif_vlan.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>

static const char not_a_vlan[] = "a VLAN is a number from 1 to 4094";

/* Reads a number from 1 to VLAN_MAX and moves past it; 0: there is none. */
static unsigned take_number(const char **at)
{
    char *end;

    if (!isdigit((unsigned char)**at))
        return 0;
    const unsigned long number = strtoul(*at, &end, 10);
    *at = end;
    return number <= VLAN_MAX ? (unsigned)number : 0;
}

static void add_tagged(struct vif_vlans *vlans, unsigned vlan)
{
    vlans->tagged[vlan] = true;
    vlans->any_tagged = true;
}

const char *vif_vlans_of_bridge(struct vif_vlans *vlans, const char *text)
{
    unsigned vlan;

    if (*text == '.') {
        text++;
        vlans->untagged = take_number(&text);
        if (vlans->untagged == 0)
            return not_a_vlan;
    }
    while (*text == ':') {
        text++;
        vlan = take_number(&text);
        if (vlan == 0)
            return not_a_vlan;
        add_tagged(vlans, vlan);
    }
    return *text == '\0' ? NULL : "VLANs are written as in bridge=br0.10 or bridge=br0.10:20:30";
}

/* One term: a VLAN, FIRST-LAST, or FIRST+OFFSETxCOUNT, with a suffix p or u. */
static const char *take_term(struct vif_vlans *vlans, const char **at, bool alone)
{
    const unsigned first = take_number(at);
    unsigned offset = 1, count = 0;

    if (first == 0)
        return not_a_vlan;
    if (**at == '-') {
        ++*at;
        const unsigned last = take_number(at);
        if (last < first)
            return "a range is written as in 20-29";
        count = last - first;
    } else if (**at == '+') {
        ++*at;
        offset = take_number(at);
        if (offset == 0 || *(*at)++ != 'x' || (count = take_number(at)) == 0)
            return "a series is written as in 100+10x4";
    }
    if (first + offset * count > VLAN_MAX)
        return not_a_vlan;
    if (**at == 'u')
        return "more than one VLAN without tags: mark one with p, as in 10p/20, and write the "
               "others "
               "without u";
    if (**at == 'p' || (alone && count == 0 && **at == '\0')) {
        *at += **at == 'p';
        if (count > 0 || vlans->untagged != 0)
            return "only one VLAN may have the suffix p";
        vlans->untagged = first;
        return NULL;
    }
    for (unsigned i = 0; i <= count; i++)
        add_tagged(vlans, first + i * offset);
    return NULL;
}

const char *vif_vlans_of_list(struct vif_vlans *vlans, const char *text)
{
    const char *wrong = NULL;
    bool alone = true;

    for (;;) {
        wrong = take_term(vlans, &text, alone);
        if (wrong != NULL)
            return wrong;
        if (*text != '/')
            break;
        text++;
        alone = false;
    }
    if (*text != '\0')
        return "VLANs are written as in vlan=10 or vlan=10p/20/30-39";
    return vlans->untagged != 0 ? NULL : "one VLAN must have the suffix p, as in 10p/20";
}
