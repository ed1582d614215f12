/* SPDX-License-Identifier: MIT */
/* wire: see wire.h. */
#include "wire.h"

#include <dragoman/base/text.h>

#include <string.h>

int dgm_xs_wire_strings(const char *payload, size_t bytes, const char *strings[], size_t max)
{
    size_t count = 0;

    while (bytes) {
        const char *const end = memchr(payload, '\0', bytes);

        if (!end || count == max)
            return DGM_EINVAL;
        strings[count++] = payload;
        bytes -= (size_t)(end + 1 - payload);
        payload = end + 1;
    }
    return (int)count;
}

static bool path_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '@' || c == '/';
}

bool dgm_xs_wire_path_valid(const char *path)
{
    size_t length = 0, levels = 0;

    if (path[0] != '/')
        return false;
    for (; path[length]; length++) {
        if (length == DGM_XS_PATH_MAX - 1 || !path_character(path[length]) ||
            (path[length] == '/' && path[length + 1] == '/'))
            return false;
        levels += path[length] == '/';
    }
    return length == 1 || (path[length - 1] != '/' && levels <= DGM_XS_LEVELS_MAX);
}

size_t dgm_xs_wire_home(domid_t domid, char *path)
{
    struct dgm_text text = dgm_text(path, 24);

    dgm_text_add(&text, "/local/domain/");
    dgm_text_add_number(&text, domid);
    return text.length;
}

int dgm_xs_wire_path(domid_t domid, const char *given, char *path)
{
    struct dgm_text text = dgm_text(path, DGM_XS_PATH_MAX);
    char home[24];

    if (given[0] != '/') {
        if (given[0] == '@')
            return DGM_EINVAL; /* no node has such a name; server.c handles watches on them */
        dgm_xs_wire_home(domid, home);
        dgm_text_add(&text, home);
        dgm_text_add(&text, "/");
    }
    dgm_text_add(&text, given);
    return !text.truncated && dgm_xs_wire_path_valid(path) ? DGM_OK : DGM_EINVAL;
}

static const char letters[] = {
    [DGM_XS_NONE] = 'n',
    [DGM_XS_READ] = 'r',
    [DGM_XS_WRITE] = 'w',
    [DGM_XS_READ | DGM_XS_WRITE] = 'b',
};

int dgm_xs_wire_perms(const char *text, size_t bytes, struct dgm_xs_perms *perms)
{
    const char *strings[DGM_XS_PERMS_MAX + 1];
    const int count = dgm_xs_wire_strings(text, bytes, strings, DGM_XS_PERMS_MAX + 1);

    memset(perms, 0, sizeof *perms);
    if (count == 0)
        return DGM_EINVAL;
    if (count < 0) /* too many strings, or not strings */
        return text[bytes - 1] ? DGM_EINVAL : DGM_ENOSPC;
    if (count > DGM_XS_PERMS_MAX)
        return DGM_ENOSPC;
    for (; perms->count < count; perms->count++) {
        const char *const string = strings[perms->count];
        const char *const letter = memchr(letters, string[0], sizeof letters);
        uint64_t domid;

        if (!letter ||
            !dgm_text_number(string + 1, dgm_text_length(string + 1), &domid, UINT16_MAX))
            return DGM_EINVAL;
        perms->entry[perms->count].domid = (domid_t)domid;
        perms->entry[perms->count].rights = (uint16_t)(letter - letters);
    }
    return DGM_OK;
}

size_t dgm_xs_wire_perms_text(const struct dgm_xs_perms *perms, char *text)
{
    size_t length = 0;

    for (unsigned i = 0; i < perms->count; i++) {
        struct dgm_text number = dgm_text(text + length + 1, 7);

        text[length] = letters[perms->entry[i].rights];
        dgm_text_add_number(&number, perms->entry[i].domid);
        length += number.length + 2;
    }
    return length;
}

const char *dgm_xs_wire_error(int status)
{
    /* xs_wire.h defines this table only together with a hosted <errno.h>. */
#define ERROR(name)                                                                                \
    case DGM_##name:                                                                               \
        return #name
    switch (status) {
        ERROR(EACCES);
        ERROR(EEXIST);
        ERROR(EISDIR);
        ERROR(ENOENT);
        ERROR(ENOMEM);
        ERROR(ENOSPC);
        ERROR(EIO);
        ERROR(ENOTEMPTY);
        ERROR(ENOSYS);
        ERROR(EROFS);
        ERROR(EBUSY);
        ERROR(EAGAIN);
        ERROR(EISCONN);
        ERROR(E2BIG);
        ERROR(EPERM);
    default:
        return "EINVAL";
    }
#undef ERROR
}
