/* SPDX-License-Identifier: MIT */
/*
 * traffic: a measured amount of network traffic between two of its kind
 *
 *   traffic serve PORT                     the other end; ends when it is told
 *   traffic ADDRESS PORT KIND BYTES COUNT  the traffic with the other end
 *   traffic ADDRESS PORT end               tells the other end to end
 *
 * KIND: udp-rr (datagrams of BYTES bytes, each answered), udp-send (not answered), tcp-send,
 * tcp-receive (COUNT KiB, at most BYTES bytes for each call).
 *
 * The other end runs in a guest or on the host. A tenth of COUNT runs before as a warm-up. The
 * measured part and each operation (a datagram, a KiB) are marked by instructions without effect
 * (bench/machine/count.c), so measuring costs neither a trap nor output. The measured part ends
 * when the other end has all, or, of datagrams without answers, when it has answered one more.
 * Prints one line: the number of measured operations.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* What the plugin looks for; on the host there is none. */
#ifdef __aarch64__
#define MARK_BEGIN "orr x9, x9, x9"
#define MARK_END   "orr x10, x10, x10"
#define MARK_DONE  "orr x11, x11, x11"
#else
#define MARK_BEGIN ""
#define MARK_END   ""
#define MARK_DONE  ""
#endif

#define BYTES_MAX    65536
#define CONNECT_S    120
#define ANSWER_TRIES 30  /* of one second each */
#define ECHO         'e' /* the first byte of a datagram that is to be answered */
#define SILENT       's'

/* The first bytes on a connection. */
struct order {
    char what[8]; /* "send", "receive": as the sender of the order sees it; "end" */
    uint64_t bytes;
};

static struct sockaddr_in other;
static char buffer[BYTES_MAX];

static void die(const char *what)
{
    printf("traffic: %s: %s\n", what, errno ? strerror(errno) : "ended early");
    exit(1);
}

static void must(bool good, const char *what)
{
    if (!good)
        die(what);
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

    errno = EINVAL;
    must(inet_pton(AF_INET, host, &address.sin_addr) == 1, host);
    return address;
}

/* --- streams --- */

static void write_all(int stream, uint64_t bytes, size_t step, bool marked)
{
    uint64_t left = bytes;

    while (left > 0) {
        const size_t now = left < step ? (size_t)left : step;
        const ssize_t done = write(stream, buffer, now);

        must(done > 0, "write");
        for (ssize_t i = 0; marked && i < done / 1024; i++)
            __asm__ volatile(MARK_DONE ::: "memory");
        left -= (uint64_t)done;
    }
}

static void read_all(int stream, uint64_t bytes, size_t step, bool marked)
{
    uint64_t done = 0, marks = 0;

    while (done < bytes) {
        const uint64_t left = bytes - done;
        const ssize_t got = read(stream, buffer, left < step ? (size_t)left : step);

        errno = got == 0 ? 0 : errno;
        must(got > 0, "read");
        done += (uint64_t)got;
        for (; marked && marks < done / 1024; marks++)
            __asm__ volatile(MARK_DONE ::: "memory");
    }
}

/* A connection to the other end, which may not listen yet. */
static int connect_to_other(void)
{
    for (int second = 0; second < CONNECT_S; second++) {
        const int stream = socket(AF_INET, SOCK_STREAM, 0);

        must(stream >= 0, "socket");
        if (connect(stream, (struct sockaddr *)&other, sizeof other) == 0)
            return stream;
        close(stream);
        sleep(1);
    }
    die("connect");
    return -1;
}

/* Gives the order on a new connection. */
static int give_order(const char *what, uint64_t bytes)
{
    const int stream = connect_to_other();
    struct order order = {.bytes = bytes};

    memcpy(order.what, what, strlen(what));
    must(write(stream, &order, sizeof order) == sizeof order, "write");
    return stream;
}

static void transfer(int stream, bool sends, uint64_t kib, size_t step, bool marked)
{
    char confirmed;

    if (!sends) {
        read_all(stream, kib * 1024, step, marked);
        return;
    }
    write_all(stream, kib * 1024, step, marked);
    must(read(stream, &confirmed, 1) == 1, "confirmation");
}

static void measure_stream(bool sends, size_t step, uint64_t kib)
{
    const char *what = sends ? "send" : "receive";
    int stream = give_order(what, kib / 10 * 1024);

    transfer(stream, sends, kib / 10, step, false);
    close(stream);
    stream = give_order(what, kib * 1024);
    __asm__ volatile(MARK_BEGIN ::: "memory");
    transfer(stream, sends, kib, step, true);
    __asm__ volatile(MARK_END ::: "memory");
    close(stream);
}

/* --- datagrams --- */

/* One datagram there and its answer back, with repetitions if one is lost. */
static void exchange(int socket, size_t bytes)
{
    buffer[0] = ECHO;
    for (int i = 0; i < ANSWER_TRIES; i++) {
        must(send(socket, buffer, bytes, 0) == (ssize_t)bytes, "send");
        if (recv(socket, buffer, sizeof buffer, 0) == (ssize_t)bytes)
            return;
    }
    die("no answer");
}

static void datagrams(int socket, bool answered, size_t bytes, uint64_t count, bool marked)
{
    for (uint64_t i = 0; i < count; i++) {
        if (answered) {
            exchange(socket, bytes);
        } else {
            buffer[0] = SILENT;
            must(send(socket, buffer, bytes, 0) == (ssize_t)bytes, "send");
        }
        if (marked)
            __asm__ volatile(MARK_DONE ::: "memory");
    }
    if (!answered)
        exchange(socket, bytes);
}

static void measure_datagrams(bool answered, size_t bytes, uint64_t count)
{
    const struct timeval second = {.tv_sec = 1};
    const int socket_ = socket(AF_INET, SOCK_DGRAM, 0);

    close(give_order("send", 0)); /* so that the other end is there */
    must(socket_ >= 0 && connect(socket_, (struct sockaddr *)&other, sizeof other) == 0 &&
             setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second) == 0,
         "socket");
    datagrams(socket_, answered, bytes, count / 10, false);
    __asm__ volatile(MARK_BEGIN ::: "memory");
    datagrams(socket_, answered, bytes, count, true);
    __asm__ volatile(MARK_END ::: "memory");
    close(socket_);
}

/* --- the other end --- */

/* False: the order was to end. A stream that fails ends alone. */
static bool obey(int stream)
{
    struct order order;
    uint64_t left;

    if (read(stream, &order, sizeof order) != sizeof order)
        return true;
    left = order.bytes;
    while (strcmp(order.what, "end") != 0 && left > 0) {
        const size_t now = left < sizeof buffer ? (size_t)left : sizeof buffer;
        const ssize_t done = strcmp(order.what, "send") == 0 ? read(stream, buffer, now)
                                                             : write(stream, buffer, now);

        if (done <= 0)
            return true;
        left -= (uint64_t)done;
    }
    if (strcmp(order.what, "send") == 0 && write(stream, "+", 1) != 1)
        return true;
    return strcmp(order.what, "end") != 0;
}

static void answer_datagram(int socket)
{
    struct sockaddr_in from;
    socklen_t from_bytes = sizeof from;
    const ssize_t got =
        recvfrom(socket, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &from_bytes);

    if (got > 0 && buffer[0] == ECHO)
        (void)!sendto(socket, buffer, (size_t)got, 0, (struct sockaddr *)&from, from_bytes);
}

static void serve(const char *port)
{
    const struct sockaddr_in here = address_of("0.0.0.0", port);
    struct pollfd ready[2] = {{.events = POLLIN}, {.events = POLLIN}};
    const int yes = 1;
    bool on = true;

    ready[0].fd = socket(AF_INET, SOCK_DGRAM, 0);
    ready[1].fd = socket(AF_INET, SOCK_STREAM, 0);
    must(setsockopt(ready[1].fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0, "socket");
    for (int i = 0; i < 2; i++)
        must(bind(ready[i].fd, (const struct sockaddr *)&here, sizeof here) == 0, "bind");
    must(listen(ready[1].fd, 4) == 0, "listen");
    while (on) {
        must(poll(ready, 2, -1) > 0, "poll");
        if (ready[0].revents)
            answer_datagram(ready[0].fd);
        if (ready[1].revents) {
            const int stream = accept(ready[1].fd, NULL, NULL);

            on = stream < 0 || obey(stream);
            close(stream);
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t seed;
    const char *kind = argc > 3 ? argv[3] : "";
    const unsigned long bytes = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    const unsigned long count = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;

    signal(SIGPIPE, SIG_IGN);
    /* Before the measurement: while its random pool is unseeded, the kernel computes each random
     * number anew, several for a packet. */
    must(getrandom(&seed, sizeof seed, 0) == sizeof seed, "getrandom");
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        serve(argv[2]);
        return 0;
    }
    if (argc == 4 && strcmp(kind, "end") == 0) {
        other = address_of(argv[1], argv[2]);
        close(give_order("end", 0));
        return 0;
    }
    if (argc != 6 || bytes < 1 || bytes > BYTES_MAX || count < 10) {
        fprintf(stderr,
                "Usage: traffic serve PORT | traffic ADDRESS PORT KIND BYTES COUNT | "
                "traffic ADDRESS PORT end\nBYTES 1 to %d, COUNT from 10\n",
                BYTES_MAX);
        return 2;
    }
    other = address_of(argv[1], argv[2]);
    memset(buffer, 0x5a, sizeof buffer);
    if (strncmp(kind, "udp-", 4) == 0)
        measure_datagrams(strcmp(kind, "udp-rr") == 0, bytes, count);
    else
        measure_stream(strcmp(kind, "tcp-send") == 0, bytes, count);
    printf("%lu\n", count);
    return 0;
}
