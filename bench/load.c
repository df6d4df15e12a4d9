/* Closed-loop HTTP/1.1 load on a Unix socket, one thread on epoll, so that the client is never the limit.
 *
 *   load SOCKET CONNECTIONS SECONDS REQUEST-FILE [WARM-SECONDS]
 *
 * Every connection sends the file's bytes, waits for the whole answer (Content-Length), and sends again. Prints one
 * line of JSON: answers a second, latency in microseconds, answers that were not 200. Exit 2: usage or connect,
 * 3: the server closed or the socket failed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS_MAX = 256, SAMPLES_MAX = 1 << 21 };

struct connection {
    int fd;
    size_t sent, got, room;
    long need; /* bytes of the whole answer; -1: its head is not here yet */
    char *in;
    double since_s;
};

static char *request;
static size_t request_bytes, samples;
static float *latency_s;
static long ok, bad;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what, int code) {
    perror(what);
    exit(code);
}

static void dial(struct connection *c, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) fail("connect", 2);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) fail("fcntl", 2);
    c->room = READ_BYTES * 2;
    c->in = malloc(c->room);
    c->need = -1;
    c->since_s = now_s();
}

static void push(struct connection *c) {
    while (c->sent < request_bytes) {
        ssize_t n = write(c->fd, request + c->sent, request_bytes - c->sent);
        if (n < 0) {
            if (errno == EAGAIN) return;
            fail("write", 3);
        }
        c->sent += n;
    }
}

static void read_head(struct connection *c) {
    char *end = memmem(c->in, c->got, "\r\n\r\n", 4);
    if (!end) return;
    long length = 0;
    for (char *line = c->in; line < end; line = (char *)memmem(line, end + 2 - line, "\r\n", 2) + 2)
        if (!strncasecmp(line, "content-length:", 15)) length = atol(line + 15);
    c->need = end + 4 - c->in + length;
}

/* Reads what is there; 1 where an answer is whole and the next request may go. */
static int pull(struct connection *c) {
    for (;;) {
        if (c->got + READ_BYTES > c->room) {
            c->room *= 2;
            c->in = realloc(c->in, c->room);
            if (!c->in) fail("memory", 3);
        }
        ssize_t n = read(c->fd, c->in + c->got, READ_BYTES);
        if (n == 0) {
            fprintf(stderr, "the server closed\n");
            exit(3);
        }
        if (n < 0) {
            if (errno == EAGAIN) return 0;
            fail("read", 3);
        }
        c->got += n;
        if (c->need < 0) read_head(c);
        if (c->need >= 0 && c->got >= (size_t)c->need) return 1;
        if (n < READ_BYTES) return 0;
    }
}

static void finish(struct connection *c) {
    double t = now_s();
    if (c->got > 12 && !memcmp(c->in + 9, "200", 3)) ok++;
    else bad++;
    if (samples < SAMPLES_MAX) latency_s[samples++] = t - c->since_s;
    c->got = c->sent = 0;
    c->need = -1;
    c->since_s = t;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double quantile_us(double share) { return samples ? latency_s[(size_t)(share * (samples - 1))] * 1e6 : 0; }

int main(int count, char **words) {
    if (count < 5) {
        fprintf(stderr, "usage: load SOCKET CONNECTIONS SECONDS REQUEST-FILE [WARM-SECONDS]\n");
        return 2;
    }
    int connections = atoi(words[2]);
    double seconds = atof(words[3]), warm_s = count > 5 ? atof(words[5]) : 0.2;
    FILE *file = fopen(words[4], "rb");
    if (!file) fail(words[4], 2);
    request = malloc(1 << 26);
    request_bytes = fread(request, 1, 1 << 26, file);
    fclose(file);
    latency_s = malloc(SAMPLES_MAX * sizeof *latency_s);
    struct connection *all = calloc(connections, sizeof *all);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connections; i++) {
        dial(&all[i], words[1]);
        struct epoll_event want = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &all[i]};
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, all[i].fd, &want)) fail("epoll", 2);
    }
    double start_s = now_s() + warm_s, end_s = start_s + seconds;
    int measuring = 0;
    for (double t; (t = now_s()) < end_s;) {
        if (!measuring && t >= start_s) {
            measuring = 1;
            start_s = t;
            ok = bad = samples = 0;
        }
        struct epoll_event events[EVENTS_MAX];
        int ready = epoll_wait(poll_fd, events, EVENTS_MAX, 20);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            push(c);
            while (pull(c)) {
                finish(c);
                push(c);
            }
        }
    }
    double elapsed_s = now_s() - start_s;
    qsort(latency_s, samples, sizeof *latency_s, by_value);
    printf("{\"per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"ok\": %ld, \"bad\": %ld}\n", ok / elapsed_s,
           quantile_us(0.5), quantile_us(0.99), ok, bad);
    return 0;
}
