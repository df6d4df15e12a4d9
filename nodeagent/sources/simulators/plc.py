"""A PLC that is not there: the pump skid behind real Modbus TCP. `python -m nodeagent.sources.simulators.plc --port 0`.

Holding registers 0 to 13 are the seven tags of pump.TAGS as float32, ABCD; 100 and 101 can be written. The machine's
seconds pass at `--speed` times ours. One JSON line, `{"port": N}`, says that it listens on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import struct
import time
from collections.abc import Callable

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from nodeagent.sources.simulators.pump import TAGS, Pump

HOST = "127.0.0.1"
UNIT_ID = 1
REGISTERS = 2 * len(TAGS)
WRITABLE_AT = 100
WRITABLE_REGISTERS = 2
BLOCK_SWEEPS = 16


class PumpRegisters:
    """The pump's newest sweep as register words, made in blocks as the machine's time passes."""

    def __init__(
        self, seed: int, *, wear: float, wear_per_s: float, speed: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pump = Pump(seed)
        self._wear, self._wear_per_s, self._speed, self._clock = wear, wear_per_s, speed, clock
        self._began_s = clock()
        self._first, self._words = 0, self._block()

    def _block(self) -> list[tuple[int, ...]]:
        passed_s = self._clock() - self._began_s
        wear = min(1.0, self._wear + self._wear_per_s * passed_s)
        sweeps = self._pump.block(BLOCK_SWEEPS, wear=wear)
        return [struct.unpack(f">{REGISTERS}H", struct.pack(f">{len(TAGS)}f", *sweep)) for sweep in sweeps.tolist()]

    def words(self) -> tuple[int, ...]:
        """The sweep of this moment."""
        at = int((self._clock() - self._began_s) * self._speed)
        while at >= self._first + BLOCK_SWEEPS:
            self._first += BLOCK_SWEEPS
            self._words = self._block()
        return self._words[at - self._first]


def device(pump: PumpRegisters) -> SimDevice:
    """The PLC as pymodbus serves it."""

    async def refresh(
        function: int, start: int, address: int, count: int, registers: list[int], values: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        if values is None:
            registers[:REGISTERS] = pump.words()
        return None

    data = [
        SimData(0, values=[0] * REGISTERS, datatype=DataType.REGISTERS, readonly=True),
        SimData(WRITABLE_AT, values=[0] * WRITABLE_REGISTERS, datatype=DataType.REGISTERS),
    ]
    return SimDevice(UNIT_ID, data, action=refresh)


async def serve(port: int, pump: PumpRegisters) -> None:
    """Listens until cancelled; port 0 takes a free one."""
    server = ModbusTcpServer(device(pump), address=(HOST, port))
    await server.listen()
    listener = server.transport
    assert isinstance(listener, asyncio.Server)
    print(json.dumps({"port": listener.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wear", type=float, default=0.0, help="0: new, 1: worn out")
    parser.add_argument("--wear-per-s", type=float, default=0.0, help="how fast it wears, by our clock")
    parser.add_argument("--speed", type=float, default=5.0, help="seconds of the machine in one of ours")
    options = parser.parse_args()
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    pump = PumpRegisters(options.seed, wear=options.wear, wear_per_s=options.wear_per_s, speed=options.speed)
    asyncio.run(serve(options.port, pump))


if __name__ == "__main__":
    main()
