/* SPDX-License-Identifier: MIT */
/* monitor: see monitor.h. */
#include "monitor.h"
#include "console.h"

#include <dragoman/base/text.h>
#include <port/arch.h>
#include <port/env.h>

#include <string.h>

#define LINE_MAX 80

static struct {
    struct dgm_task task;
    struct guests *guests;
    struct monitor_actions actions;
    char line[LINE_MAX];
    size_t length;
} monitor;

static void say_status(void)
{
    static const char *const guest_states[] = {
        [GUEST_LIVE] = "running",
        [GUEST_ENDING] = "ending",
        [GUEST_WAITING] = "waits to start",
        [GUEST_BUILDING] = "is being built",
        [GUEST_GONE] = "gone",
    };
    const struct guests *guests = monitor.guests;
    const struct dgm_slot_cache *slots = guests->env->reach->grant->slots;

    for (size_t i = 0; i < guests->count; i++) {
        const struct guest *guest = &guests->guest[i];

        dgm_env_log("guest %u (%s): %s", guest->base.domid, guest->base.name,
                    guest_states[guest->state]);
        for (size_t d = 0; d < guests->disk_count; d++) {
            const struct dgm_blkback *back = &guests->disk[d].back;

            if (guests->disk[d].guest == guest)
                dgm_env_log("  %s: %s, %s, %llu MiB read, %llu MiB written", back->vdev,
                            dgm_blkback_idle(back) ? "closed" : "connected", back->disk->name,
                            (unsigned long long)back->counters.bytes_read >> 20,
                            (unsigned long long)back->counters.bytes_written >> 20);
        }
    }
    disks_print(guests->disks);
    dgm_env_log("%llu of %llu slots taken, %llu at most until now",
                (unsigned long long)slots->taken, (unsigned long long)slots->slots->present,
                (unsigned long long)slots->taken_max);
}

/* Logs the progress of each connected disk. For a guest that hangs, it shows whether the guest or
 * Dragoman has the next step. */
static void log_rings(void)
{
    const struct guests *guests = monitor.guests;
    struct dgm_blkback_progress at;

    for (size_t d = 0; d < guests->disk_count; d++) {
        const struct dgm_blkback *back = &guests->disk[d].back;

        if (!dgm_blkback_progress(back, &at))
            continue;
        dgm_env_log("guest %u %s: requests: %u sent, %u taken, event at %u; responses: %u written, "
                    "%u shown, event at %u",
                    guests->disk[d].guest->base.domid, back->vdev, at.page.req_prod, at.taken,
                    at.page.req_event, at.responded, at.page.rsp_prod, at.page.rsp_event);
        dgm_env_log(
            "  %u requests without a response, %u parked, %u to submit; task %s; port %u %s, %s",
            at.records, at.parked, at.to_submit, at.posted ? "posted" : "idle", at.port,
            at.event.pending ? "pending" : "not pending",
            at.event.masked ? "masked" : "not masked");
    }
}

static void change_guest(const char *command, const char *argument)
{
    const bool create = *command == 'c';
    uint64_t domid;

    if (!dgm_text_number(argument, strlen(argument), &domid, 0x7fef)) {
        dgm_env_log("usage: %s <domid>", command);
        return;
    }
    const int result = create ? guests_create(monitor.guests, (domid_t)domid)
                              : guests_destroy(monitor.guests, (domid_t)domid);
    if (result != 0)
        dgm_env_log("guest %u cannot be %s (error %d); \"status\" lists the guests",
                    (unsigned)domid, create ? "created" : "destroyed", result);
}

/* `argument`: "<domid> <vif>". */
static void plug_vif(const char *argument, bool plug)
{
    const char *blank = strchr(argument, ' ');
    uint64_t domid, handle;

    if (!blank || !dgm_text_number(argument, (size_t)(blank - argument), &domid, 0x7fef) ||
        !dgm_text_number(blank + 1, strlen(blank + 1), &handle, CONFIG_VIFS_MAX)) {
        dgm_env_log("usage: %s <domid> <number of the vif, from 0>", plug ? "plug" : "unplug");
        return;
    }
    const int result = monitor.actions.plug_vif(
        (struct network_vif){.domid = (domid_t)domid, .handle = (uint32_t)handle}, plug);
    if (result != 0)
        dgm_env_log("guest %u: vif %u cannot be %s (error %d)", (unsigned)domid, (unsigned)handle,
                    plug ? "plugged" : "unplugged", result);
}

static void execute_line(char *line)
{
    char *argument = strchr(line, ' ');

    if (argument)
        *argument++ = 0;
    if (!strcmp(line, "status"))
        say_status();
    else if (!strcmp(line, "rings"))
        log_rings();
    else if (!strcmp(line, "counters"))
        monitor.actions.print_counters();
    else if (!strcmp(line, "ports"))
        monitor.actions.print_ports();
    else if (!strcmp(line, "destroy") || !strcmp(line, "create"))
        change_guest(line, argument ? argument : "");
    else if (!strcmp(line, "plug") || !strcmp(line, "unplug"))
        plug_vif(argument ? argument : "", *line == 'p');
    else if (!strcmp(line, "poweroff"))
        monitor.actions.power_off();
    else if (!strcmp(line, "reboot"))
        monitor.actions.reboot();
    else if (*line)
        dgm_env_log("commands: status, rings, counters, ports, destroy <domid>, create <domid>, "
                    "plug <domid> <vif>, unplug "
                    "<domid> <vif>, poweroff, reboot (all guests end)");
}

static void take_input(struct dgm_task *task)
{
    static char input[64];
    const long count = dgm_arch_hypercall(__HYPERVISOR_console_io, CONSOLEIO_read, sizeof input,
                                          (uintptr_t)input, 0, 0);

    for (long i = 0; i < count; i++) {
        if (input[i] == '\n' || input[i] == '\r') {
            monitor.line[monitor.length] = 0;
            monitor.length = 0;
            execute_line(monitor.line);
        } else if (monitor.length < LINE_MAX - 1) {
            monitor.line[monitor.length++] = input[i];
        }
    }
}

void monitor_start(struct dgm_reactor *reactor, struct dgm_evtchn *evtchn, struct guests *guests,
                   struct monitor_actions actions)
{
    int port;

    monitor.actions = actions;
    monitor.guests = guests;
    monitor.task.run = take_input;
    port = dgm_evtchn_bind_virq(evtchn, VIRQ_CONSOLE, &monitor.task);
    if (port < 0)
        dgm_env_log("the monitor takes no commands: Xen does not bind VIRQ_CONSOLE (error %d)",
                    port);
}
