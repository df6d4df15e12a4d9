"""The C snap7 server (libsnap7 inside python-snap7 2.0.2, LGPL, only for tests): s7_server.py PORT.

DB1: 100 REAL, number i at byte 4 i; byte 400 bits 0b00001000; word at 402: -5. DB1 is the only block. Ends after 120 s.
"""

import ctypes
import struct
import sys
import time

from snap7.server import Server
from snap7.type import SrvArea

server = Server(log=False)
block = (ctypes.c_uint8 * 404)()
ctypes.memmove(block, struct.pack(">100fBBh", *range(100), 8, 0, -5), 404)
server.register_area(SrvArea.DB, 1, block)
server.start(tcp_port=int(sys.argv[1]))
time.sleep(120)
