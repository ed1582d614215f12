/* SPDX-License-Identifier: MIT */
/*
 * tapnet: runs a program in a network of its own, with a TAP device that it gets as descriptor 3.
 *
 *   tapnet FILE COMMAND [ARGUMENT]...   runs COMMAND; 10.0.2.100:7070 gives FILE to each client;
 *                                       10.0.2.100:7071 takes it, and answers "same" or "different"
 *   tapnet --check                      0: this machine allows that; otherwise says why not
 *
 * The network is a namespace: no other program of the machine sees it, and no root is needed, only
 * user namespaces and /dev/net/tun. The host's end of the TAP has the address 10.0.2.100, as QEMU's
 * user network gives to its server. The TAP passes on checksums that are not filled in and large
 * packets (IFF_VNET_HDR), which QEMU's user network does not.
 *
 * Each server is a child of its own, and ends when COMMAND does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "message.h"

#define HOST_ADDRESS "10.0.2.100"
#define PORT_GIVES   7070
#define PORT_TAKES   7071
#define TAP_FD       3

static void write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        die("cannot write %s: %s", path, strerror(errno));
    close(fd);
}

/* A namespace in which this process may configure the network, as the same user outside. */
static void enter_namespace(void)
{
    char map[64];

    snprintf(map, sizeof map, "0 %u 1", (unsigned)geteuid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        die("this machine allows no user namespaces: %s", strerror(errno));
    write_file("/proc/self/uid_map", map);
}

static void bring_up(int fd, const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_UP};

    strcpy(request.ifr_name, name);
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0)
        die("%s cannot be used: %s", name, strerror(errno));
}

static void configure_tap(void)
{
    struct ifreq request = {.ifr_name = "tap0"};
    struct sockaddr_in address = {.sin_family = AF_INET};
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, HOST_ADDRESS, &address.sin_addr);
    memcpy(&request.ifr_addr, &address, sizeof address);
    if (fd < 0 || ioctl(fd, SIOCSIFADDR, &request) != 0)
        die("tap0 gets no address: %s", strerror(errno));
    inet_pton(AF_INET, "255.255.255.0", &address.sin_addr);
    memcpy(&request.ifr_netmask, &address, sizeof address);
    if (ioctl(fd, SIOCSIFNETMASK, &request) != 0)
        die("tap0 gets no network: %s", strerror(errno));
    bring_up(fd, "tap0");
    bring_up(fd, "lo");
    close(fd);
}

/* Makes tap0, and its descriptor TAP_FD. */
static void make_tap(void)
{
    struct ifreq request = {.ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const int fd = open("/dev/net/tun", O_RDWR);

    if (fd < 0)
        die("cannot open /dev/net/tun: %s", strerror(errno));
    if (ioctl(fd, TUNSETIFF, &request) != 0)
        die("cannot make a TAP device: %s", strerror(errno));
    if (fd != TAP_FD && (dup2(fd, TAP_FD) != TAP_FD || close(fd) != 0))
        die("cannot name the TAP device's descriptor: %s", strerror(errno));
}

static int listen_for_clients(uint16_t port)
{
    const int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0)
        die("cannot listen at port %d: %s", port, strerror(errno));
    return fd;
}

/* Sends the `bytes` bytes of the file. */
static void give_file(int client, int fd, off_t bytes)
{
    off_t at = 0;

    while (at < bytes)
        if (sendfile(client, fd, &at, (size_t)(bytes - at)) <= 0)
            _exit(1);
}

/* Receives as many bytes as the file has, and compares them. */
static void take_file(int client, int fd, off_t bytes)
{
    static char got[65536], expected[65536];
    const char *answer = "same\n";

    for (off_t at = 0; at < bytes;) {
        const ssize_t count = read(client, got, sizeof got);

        if (count <= 0 || pread(fd, expected, (size_t)count, at) != count ||
            memcmp(got, expected, (size_t)count) != 0) {
            answer = "different\n";
            break;
        }
        at += count;
    }
    if (write(client, answer, strlen(answer)) < 0)
        _exit(1);
}

/* Serves the client, and waits until it has everything and closes. */
static _Noreturn void serve_client(int client, const char *path, bool gives)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    char rest[512];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd < 0 || fstat(fd, &status) != 0)
        die("cannot open %s: %s", path, strerror(errno));
    (gives ? give_file : take_file)(client, fd, status.st_size);
    shutdown(client, SHUT_WR);
    while (read(client, rest, sizeof rest) > 0)
        continue;
    _exit(0);
}

static _Noreturn void serve(int listener, const char *path, bool gives)
{
    signal(SIGCHLD, SIG_IGN); /* children leave no zombies */
    for (;;) {
        const int client = accept(listener, NULL, NULL);

        if (client < 0)
            continue;
        if (fork() == 0)
            serve_client(client, path, gives);
        close(client);
    }
}

/* Starts a server, which gives the file or takes it. */
static void start_server(const char *path, bool gives)
{
    const int listener = listen_for_clients(gives ? PORT_GIVES : PORT_TAKES);
    const pid_t parent = getpid();

    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(TAP_FD);
        serve(listener, path, gives);
    }
    close(listener);
}

int main(int count, char **arguments)
{
    const bool check = count == 2 && strcmp(arguments[1], "--check") == 0;

    message_tool_name("tapnet");
    if (!check && count < 3)
        die("usage: tapnet FILE COMMAND [ARGUMENT]...");
    enter_namespace();
    make_tap();
    configure_tap();
    if (check)
        return 0;
    start_server(arguments[1], true);
    start_server(arguments[1], false);
    execvp(arguments[2], arguments + 2);
    die("cannot run %s: %s", arguments[2], strerror(errno));
}
