/* SPDX-License-Identifier: MIT */
/* config_keys: see config_keys.h. */
#include "config_keys.h"

#include <port/env.h>

#include <libfdt.h>
#include <string.h>

const char *config_string(const void *fdt, int node, const char *path, const char *name,
                          size_t bytes)
{
    int length;
    const char *value = fdt_getprop(fdt, node, name, &length);

    if (!value) {
        dgm_env_log("config: %s has no \"%s\"; it is left out", path, name);
        return NULL;
    }
    if (length < 2 || value[length - 1] || strlen(value) != (size_t)length - 1 ||
        (size_t)length > bytes) {
        dgm_env_log("config: %s: \"%s\" must be one string of 1 to %u characters; it is left out",
                    path, name, (unsigned)bytes - 1);
        return NULL;
    }
    return value;
}

size_t config_kind_length(const char *key)
{
    static const char suffix[] = "-controllers";
    const size_t length = strlen(key), after = sizeof suffix - 1;

    return length > after && !strcmp(key + length - after, suffix) ? length - after : 0;
}

void config_warn_unknown(const void *fdt, int node, const char *path, const char *const *known,
                         size_t count)
{
    int property;

    fdt_for_each_property_offset(property, fdt, node)
    {
        const char *name = NULL;
        size_t i = 0;

        if (!fdt_getprop_by_offset(fdt, property, &name, NULL) || !name)
            continue;
        while (i < count && strcmp(name, known[i]))
            i++;
        if (i == count && strcmp(name, "phandle") && config_kind_length(name) == 0)
            dgm_env_log("config: %s: unknown key \"%s\" is ignored", path, name);
    }
}

size_t config_choice(const void *fdt, int node, const char *path, const char *name,
                     const struct config_choices *choices)
{
    size_t i = 0;

    if (!fdt_getprop(fdt, node, name, NULL))
        return choices->usual;
    const char *value = config_string(fdt, node, path, name, 16);

    if (!value)
        return choices->usual;
    while (i < choices->count && strcmp(value, choices->words[i]))
        i++;
    if (i < choices->count)
        return i;
    dgm_env_log("config: %s: %s is \"%s\", must be %s; it is \"%s\"", path, name, value,
                choices->allowed, choices->words[choices->usual]);
    return choices->usual;
}
