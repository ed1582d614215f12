/* SPDX-License-Identifier: MIT */
/*
 * xenbus: see dragoman/xenstore/xenbus.h for the states and their order
 *
 * One function, dgm_xenbus_update(), makes all decisions from the frontend's present state and from
 * what is held; the watch only causes the call. So one firing may stand for any number of changes,
 * and a frontend whose states do not follow the protocol harms only itself.
 *
 * A write to our own state cannot fire the watch, which is on the frontend's state, so no step
 * causes itself. A step that directly follows another (released, restart) is a plain call after the
 * first, never from inside a backend's callback.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/log_limit.h>
#include <dragoman/base/text.h>
#include <dragoman/xenstore/xenbus.h>

#define XENBUS_PATH_MAX 128

static int xenbus_set_ours(struct dgm_xenbus_device *device, enum xenbus_state state)
{
    const struct dgm_xenbus_key key = {"state", NULL, (uint64_t)state};
    const int status = dgm_xenbus_write(device, DGM_XENBUS_BACKEND, &key, 1);

    if (status < 0)
        dgm_log_limited(device->log, "%s %u/%u: state %d not written (%d)", device->type,
                        device->domid, device->number, (int)state, status);
    device->ours = state;
    return status;
}

/* The directory in which Linux's backends report errors: /local/domain/0/error/backend/... */
static struct dgm_text xenbus_error_path(const struct dgm_xenbus_device *device, char *buffer)
{
    struct dgm_text path = dgm_text(buffer, XENBUS_PATH_MAX);

    dgm_text_add(&path, "/local/domain/0/error/backend/");
    dgm_text_add(&path, device->type);
    dgm_text_add(&path, "/");
    dgm_text_add_number(&path, device->domid);
    dgm_text_add(&path, "/");
    dgm_text_add_number(&path, device->number);
    return path;
}

static void xenbus_write_error(struct dgm_xenbus_device *device, int status, const char *why)
{
    char path_buffer[XENBUS_PATH_MAX], value_buffer[128];
    struct dgm_text path = xenbus_error_path(device, path_buffer);
    struct dgm_text value = dgm_text(value_buffer, sizeof value_buffer);

    dgm_text_add(&path, "/error");
    dgm_text_add(&value, status < 0 ? "-" : "");
    dgm_text_add_number(&value, (uint64_t)(status < 0 ? -(int64_t)status : status));
    dgm_text_add(&value, " ");
    dgm_text_add(&value, why);
    (void)dgm_xs_write(device->xs,
                       (struct dgm_xs_entry){.path = path_buffer, .value = value_buffer});
}

static void xenbus_release(struct dgm_xenbus_device *device)
{
    dgm_assert(device->connected && !device->releasing);
    device->connected = false;
    device->releasing = true;
    device->restart = !device->unplugging && (device->theirs == XenbusStateInitialising ||
                                              device->theirs == XenbusStateInitialised);
    device->ops->disconnect(device);
}

void dgm_xenbus_fail(struct dgm_xenbus_device *device, int status, const char *why)
{
    device->failures++;
    device->failed = true;
    dgm_log_limited(device->log, "%s %u/%u: closed: %s (%d)", device->type, device->domid,
                    device->number, why, status);
    xenbus_write_error(device, status, why);
    xenbus_set_ours(device, XenbusStateClosing);
    if (device->connected)
        xenbus_release(device);
}

static void xenbus_offer(struct dgm_xenbus_device *device)
{
    const int status = device->ops->offer(device);

    device->failed = false;
    if (status < 0)
        dgm_xenbus_fail(device, status, "features not written");
    else
        xenbus_set_ours(device, XenbusStateInitWait);
}

static void xenbus_connect(struct dgm_xenbus_device *device)
{
    const char *why = "connecting";
    const int status = device->ops->connect(device, &why);

    if (status == DGM_EAGAIN)
        return;
    if (status < 0) {
        dgm_xenbus_fail(device, status, why);
        return;
    }
    device->connects++;
    device->connected = true;
    device->settled = device->theirs == XenbusStateConnected;
    xenbus_set_ours(device, XenbusStateConnected);
}

/* Reports once that the frontend did not follow the protocol. After a failure the node `error`
 * keeps the cause of the failure. */
static void xenbus_report(struct dgm_xenbus_device *device, const char *what)
{
    if (device->reported)
        return;
    device->reported = true;
    dgm_log_limited(device->log, "%s %u/%u: %s", device->type, device->domid, device->number, what);
    if (!device->failed)
        xenbus_write_error(device, DGM_EPROTO, what);
}

/* Reads the frontend's state. If its node is missing or holds no state, it is Unknown, which is
 * reported. */
static enum xenbus_state xenbus_read_theirs(struct dgm_xenbus_device *device)
{
    uint64_t state = XenbusStateUnknown;
    const int status = dgm_xenbus_read_number(device, "state", XenbusStateReconfigured, &state);

    if (status != DGM_OK) {
        xenbus_report(device, device->reason);
        return XenbusStateUnknown;
    }
    if (state != (uint64_t)device->theirs)
        device->reported = false;
    if (state == XenbusStateUnknown)
        xenbus_report(device, "the frontend's state is Unknown");
    return (enum xenbus_state)state;
}

/* Handles Initialised and Connected. As with Linux's backend the frontend may enter them from any
 * state. */
static void xenbus_frontend_ready(struct dgm_xenbus_device *device)
{
    const bool restarted = device->settled && device->theirs == XenbusStateInitialised;

    if (device->connected && restarted)
        xenbus_release(device);
    else if (device->connected)
        device->settled |= device->theirs == XenbusStateConnected;
    else if (device->failed)
        xenbus_report(device, "the device has failed: the frontend must close and start again");
    else if (!device->unplugging)
        xenbus_connect(device);
}

void dgm_xenbus_update(struct dgm_xenbus_device *device)
{
    if (device->gone)
        return;
    device->theirs = xenbus_read_theirs(device);
    if (device->releasing)
        return; /* dgm_xenbus_released() reads the state again */

    switch (device->theirs) {
    case XenbusStateInitialising:
        if (device->connected)
            xenbus_release(device);
        else if (!device->unplugging &&
                 (device->ours == XenbusStateClosing || device->ours == XenbusStateClosed))
            xenbus_offer(device);
        break;
    case XenbusStateInitialised:
    case XenbusStateConnected:
        xenbus_frontend_ready(device);
        break;
    case XenbusStateClosing:
        if (device->ours == XenbusStateInitWait || device->ours == XenbusStateConnected)
            xenbus_set_ours(device, XenbusStateClosing);
        break;
    case XenbusStateClosed:
    case XenbusStateUnknown:
        if (device->connected)
            xenbus_release(device);
        else if (device->ours != XenbusStateClosed)
            xenbus_set_ours(device, XenbusStateClosed);
        device->failed = false;
        break;
    default: /* InitWait and the reconfiguring states */
        xenbus_report(device, "the frontend's state is one of a backend: no effect");
        break;
    }
}

void dgm_xenbus_released(struct dgm_xenbus_device *device)
{
    dgm_assert(device->releasing);
    device->releasing = false;
    if (device->gone)
        return;
    if (device->restart && !device->failed)
        xenbus_offer(device);
    else if (!device->failed) /* after a failure, Closing until the frontend has closed */
        xenbus_set_ours(device, XenbusStateClosed);
    dgm_xenbus_update(device);
}

static void xenbus_watch_fired(struct dgm_xs_watch *watch)
{
    dgm_xenbus_update(dgm_container(watch, struct dgm_xenbus_device, watch));
}

/* /local/domain/<ours>/<device or backend>/<type>/[<theirs>/]<number> */
static void xenbus_name_directories(struct dgm_xenbus_device *device)
{
    struct dgm_text frontend = dgm_text(device->frontend, sizeof device->frontend);
    struct dgm_text backend = dgm_text(device->backend, sizeof device->backend);

    dgm_text_add(&frontend, "/local/domain/");
    dgm_text_add_number(&frontend, device->domid);
    dgm_text_add(&frontend, "/device/");
    dgm_text_add(&frontend, device->type);
    dgm_text_add(&frontend, "/");
    dgm_text_add_number(&frontend, device->number);

    dgm_text_add(&backend, "/local/domain/0/backend/");
    dgm_text_add(&backend, device->type);
    dgm_text_add(&backend, "/");
    dgm_text_add_number(&backend, device->domid);
    dgm_text_add(&backend, "/");
    dgm_text_add_number(&backend, device->number);
    dgm_assert(!frontend.truncated && !backend.truncated);
}

/*
 * The backend's directory is complete before the frontend's appears, and the frontend's `state` is
 * written last: a guest that already runs starts a device when its state appears. Keys inherit the
 * permissions of their directory.
 */
static int xenbus_create_nodes(struct dgm_xenbus_device *device)
{
    const struct dgm_xenbus_key back[] = {
        {"frontend", device->frontend, 0},
        {"frontend-id", NULL, device->domid},
        {"online", NULL, 1},
        {"state", NULL, XenbusStateInitialising},
    };
    const struct dgm_xenbus_key front[] = {
        {"backend", device->backend, 0},
        {"backend-id", NULL, 0},
    };
    const struct dgm_xenbus_key front_state = {"state", NULL, XenbusStateInitialising};
    int status =
        dgm_xs_write(device->xs, (struct dgm_xs_entry){.path = device->backend, .value = ""});

    if (status >= 0)
        status = dgm_xs_set_access(device->xs, device->backend,
                                   (struct dgm_xs_access){.reader = device->domid});
    if (status >= 0)
        status = dgm_xenbus_write(device, DGM_XENBUS_BACKEND, back, sizeof back / sizeof back[0]);
    if (status >= 0)
        status =
            dgm_xs_write(device->xs, (struct dgm_xs_entry){.path = device->frontend, .value = ""});
    if (status >= 0)
        status = dgm_xs_set_access(device->xs, device->frontend,
                                   (struct dgm_xs_access){.owner = device->domid});
    if (status >= 0)
        status =
            dgm_xenbus_write(device, DGM_XENBUS_FRONTEND, front, sizeof front / sizeof front[0]);
    if (status >= 0)
        status = device->ops->describe(device);
    if (status >= 0)
        status = device->ops->offer(device);
    if (status >= 0)
        status = xenbus_set_ours(device, XenbusStateInitWait);
    if (status >= 0)
        status = dgm_xenbus_write(device, DGM_XENBUS_FRONTEND, &front_state, 1);
    return status;
}

static void xenbus_remove_nodes(struct dgm_xenbus_device *device)
{
    char path[XENBUS_PATH_MAX];

    /* It may already be removed, with the guest's home. */
    (void)dgm_xs_rm(device->xs, device->frontend);
    (void)dgm_xs_rm(device->xs, device->backend);
    xenbus_error_path(device, path);
    (void)dgm_xs_rm(device->xs, path);
}

int dgm_xenbus_create(struct dgm_xenbus_device *device, struct dgm_xenstore *xs,
                      const struct dgm_xenbus_ops *ops, struct dgm_xenbus_name name)
{
    *device = (struct dgm_xenbus_device){
        .xs = xs,
        .ops = ops,
        .type = name.type,
        .domid = name.domid,
        .number = name.number,
        .log = name.log,
        .theirs = XenbusStateInitialising,
    };
    xenbus_name_directories(device);

    const int status = xenbus_create_nodes(device);

    if (status < 0) {
        xenbus_remove_nodes(device);
        return status;
    }

    struct dgm_text path = dgm_text(device->watch.path, sizeof device->watch.path);

    dgm_text_add(&path, device->frontend);
    dgm_text_add(&path, "/state");
    device->watch.fire = xenbus_watch_fired;
    dgm_xs_watch(xs, &device->watch);
    return DGM_OK;
}

void dgm_xenbus_unplug(struct dgm_xenbus_device *device)
{
    const struct dgm_xenbus_key offline = {"online", NULL, 0};

    if (device->gone || device->unplugging)
        return;
    device->unplugging = true;
    device->restart = false;
    (void)dgm_xenbus_write(device, DGM_XENBUS_BACKEND, &offline, 1);
    xenbus_set_ours(device, XenbusStateClosing);
    dgm_xenbus_update(device);
}

bool dgm_xenbus_unplugged(const struct dgm_xenbus_device *device)
{
    return device->unplugging && dgm_xenbus_idle(device) &&
           (device->gone || device->theirs == XenbusStateClosed ||
            device->theirs == XenbusStateUnknown);
}

void dgm_xenbus_guest_gone(struct dgm_xenbus_device *device)
{
    if (device->gone)
        return;
    device->gone = true;
    dgm_xs_unwatch(device->xs, &device->watch);
    if (device->connected)
        xenbus_release(device);
}

bool dgm_xenbus_idle(const struct dgm_xenbus_device *device)
{
    return !device->connected && !device->releasing;
}

void dgm_xenbus_destroy(struct dgm_xenbus_device *device)
{
    dgm_assert(dgm_xenbus_idle(device));
    if (!device->gone)
        dgm_xs_unwatch(device->xs, &device->watch);
    device->gone = true;
    xenbus_remove_nodes(device);
}
