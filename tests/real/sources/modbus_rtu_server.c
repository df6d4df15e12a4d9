/* A Modbus RTU server that is not ours: libmodbus (LGPL-2.1, linked dynamically, only for tests).

   modbus_rtu_server DEVICE [mute=N]

   Unit 1: holding 2i, 2i+1: float32 number i, big-endian words; 200 of them. mute=N: what asks for N or higher gets no
   answer. Other units get none. Says "ready" and ends by itself after 120 s. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int count, char **words) {
    int mute = count > 2 ? atoi(words[2] + 5) : 1 << 20;
    modbus_t *context = modbus_new_rtu(words[1], 115200, 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new(10, 10, 400, 10);
    if (!context || !map) return 1;
    modbus_set_slave(context, 1);
    modbus_set_indication_timeout(context, 0, 200000);
    modbus_set_response_timeout(context, 0, 50000); /* how long it expects another unit of the line to answer */
    if (modbus_connect(context)) {
        perror("modbus_rtu_server");
        return 1;
    }
    for (int i = 0; i < 200; i++) {
        float value = (float)i;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        map->tab_registers[2 * i] = bits >> 16;
        map->tab_registers[2 * i + 1] = bits & 0xffff;
    }
    puts("ready");
    fflush(stdout);
    time_t end = time(0) + 120;
    while (time(0) < end) {
        uint8_t request[MODBUS_RTU_MAX_ADU_LENGTH];
        int length = modbus_receive(context, request);
        if (length > 0 && ((request[2] << 8) | request[3]) < mute) modbus_reply(context, request, length, map);
        if (length < 0 && errno != ETIMEDOUT) modbus_flush(context);
    }
    return 0;
}
