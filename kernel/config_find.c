/* SPDX-License-Identifier: MIT */
/* config_find: entries of the configuration that was read. See config.h. */
#include "config.h"

#include <string.h>

const struct config_kind *config_kind(const struct config *config, const char *driver)
{
    for (size_t i = 0; i < config->kind_count; i++)
        if (!strcmp(config->kinds[i].driver, driver))
            return &config->kinds[i];
    return NULL;
}

const struct config_guest *config_guest(const struct config *config, uint16_t domid)
{
    for (size_t i = 0; i < config->guest_count; i++)
        if (config->guests[i].domid == domid)
            return &config->guests[i];
    return NULL;
}

size_t config_bridge(const struct config *config, const char *bridge)
{
    size_t index = 0;

    for (size_t i = 0; i < config->vif_count; i++) {
        size_t first = 0;

        if (!strcmp(config->vifs[i].bridge, bridge))
            return index;
        while (strcmp(config->vifs[first].bridge, config->vifs[i].bridge))
            first++;
        index += first == i;
    }
    return index;
}
