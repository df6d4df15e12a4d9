/* A Modbus TCP server that is not ours: libmodbus (LGPL-2.1, linked dynamically, only for tests), on the loopback.

   modbus_server PORT [drop=N] [exception=N] [code=C] [static] [frozen-from=N] [limit=N] [mute=N] [deaf=N]

   holding 2i, 2i+1: float32 number i, big-endian words; input 0..99: the number itself plus 1000; coils and
   discrete inputs: number odd. `static`: registers keep what was written and begin at 0.
   drop=N: closes the connection instead of answering each Nth request. exception=N: answers each Nth with exception
   C (4 where none is said). frozen-from=N: from request N on it reads and never answers. limit=N: holding registers
   from N on do not exist (exception 2). mute=N: what asks for addresses from N on gets no answer, ever.
   deaf=N: holding register N takes what is written and stays at 0. Ends by itself after 120 s. */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int option(int count, char **words, const char *name, int otherwise) {
    size_t length = strlen(name);
    for (int i = 2; i < count; i++) {
        if (!strncmp(words[i], name, length) && words[i][length] == '=') return atoi(words[i] + length + 1);
        if (!strcmp(words[i], name)) return 1;
    }
    return otherwise;
}

static void put_float(modbus_mapping_t *map, int number, float value) {
    uint32_t bits; /* by hand: modbus_set_float_abcd of 3.1.6 writes BADC */
    memcpy(&bits, &value, 4);
    map->tab_registers[2 * number] = bits >> 16;
    map->tab_registers[2 * number + 1] = bits & 0xffff;
}

int main(int count, char **words) {
    int port = count > 1 ? atoi(words[1]) : 0;
    int drop = option(count, words, "drop", 0), refuse = option(count, words, "exception", 0);
    int code = option(count, words, "code", 4), frozen_from = option(count, words, "frozen-from", 0);
    int mute = option(count, words, "mute", 1 << 20), deaf = option(count, words, "deaf", -1);
    int fixed = option(count, words, "static", 0), limit = option(count, words, "limit", 4000);
    modbus_t *context = modbus_new_tcp("127.0.0.1", port);
    modbus_mapping_t *map = modbus_mapping_new(100, 100, limit, 100);
    int listening = context && map ? modbus_tcp_listen(context, 16) : -1;
    if (listening < 0) {
        perror("modbus_server");
        return 1;
    }
    for (int i = 0; i < 100; i++) {
        map->tab_input_registers[i] = 1000 + i;
        map->tab_bits[i] = map->tab_input_bits[i] = i % 2;
    }
    for (int i = 0; !fixed && 2 * i + 1 < limit; i++) put_float(map, i, (float)i);
    struct sockaddr_in bound;
    socklen_t size = sizeof bound;
    getsockname(listening, (struct sockaddr *)&bound, &size);
    printf("%d\n", ntohs(bound.sin_port));
    fflush(stdout);
    fd_set open;
    FD_ZERO(&open);
    FD_SET(listening, &open);
    int highest = listening;
    long requests = 0;
    time_t end = time(0) + 120;
    while (time(0) < end) {
        fd_set ready = open;
        struct timeval wait = {0, 100000};
        if (select(highest + 1, &ready, 0, 0, &wait) < 0) break;
        for (int s = 0; s <= highest; s++) {
            if (!FD_ISSET(s, &ready)) continue;
            if (s == listening) {
                int client = accept(listening, 0, 0);
                if (client < 0) continue;
                FD_SET(client, &open);
                if (client > highest) highest = client;
                continue;
            }
            uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
            modbus_set_socket(context, s);
            int length = modbus_receive(context, request);
            if (length > 0) requests++;
            if (length < 0 || (length > 0 && drop && requests % drop == 0)) {
                close(s);
                FD_CLR(s, &open);
            } else if (length > 9 && ((request[8] << 8) | request[9]) >= mute) {
                continue;
            } else if (length > 0 && frozen_from && requests >= frozen_from) {
                continue;
            } else if (length > 0 && refuse && requests % refuse == 0) {
                modbus_reply_exception(context, request, code);
            } else if (length > 0) {
                modbus_reply(context, request, length, map);
                if (deaf >= 0) map->tab_registers[deaf] = 0;
            }
        }
    }
    return 0;
}
