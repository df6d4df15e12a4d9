"""A motor that is not there, behind a real OPC UA server: `python -m nodeagent.sources.simulators.motor --port 0`.

Each second `Motor.Vibration` is a new second of 12,000 samples in g, and `Motor.Speed` the shaft's speed in rpm.
One JSON line, `{"port": N}`, says that it listens on loopback. asyncua is what the extra `opcua` brings.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import logging
import socket
from typing import Any, Final

import numpy as np
from asyncua import ua as _ua
from asyncua.server.server import Server

from nodeagent.sources.simulators import bearing

ua: Any = _ua  # its types are generated
HOST: Final = "127.0.0.1"
NAMESPACE: Final = "urn:outstation:plant"
SECOND_S: Final = 1.0


class Motor:
    """Two variables of a server, and the machine behind them."""

    def __init__(self, server: Any, seed: int, fault: str, severity: float) -> None:
        self._server = server
        self._rng = np.random.default_rng(seed)
        self._fault, self._severity = fault or None, severity
        self._speed: Any = None
        self._vibration: Any = None

    async def enter(self) -> None:
        """Puts the variables into the server's address space."""
        space = await self._server.register_namespace(NAMESPACE)
        motor = await self._server.nodes.objects.add_object(f"ns={space};s=Motor", f"{space}:Motor")
        self._speed = await motor.add_variable(f"ns={space};s=Motor.Speed", f"{space}:Speed", 0.0, ua.VariantType.Float)
        self._vibration = await motor.add_variable(
            f"ns={space};s=Motor.Vibration", f"{space}:Vibration", [0.0], ua.VariantType.Float
        )
        await self.turn()

    async def turn(self) -> None:
        """The next second: the speed, then what was heard at it."""
        wave, rpm = bearing.second(self._rng, self._fault, self._severity)
        now = datetime.datetime.now(datetime.UTC)
        for node, value in ((self._speed, rpm), (self._vibration, wave.astype(np.float32).tolist())):
            told = ua.DataValue(ua.Variant(value, ua.VariantType.Float), SourceTimestamp=now, ServerTimestamp=now)
            await self._server.write_attribute_value(node.nodeid, told)


async def serve(port: int, seed: int, fault: str, severity: float) -> None:
    """Listens until cancelled; port 0 takes a free one."""
    server = Server()
    await server.init()
    port = port or _free_port()
    server.set_endpoint(f"opc.tcp://{HOST}:{port}/")
    server.set_server_name("outstation plant")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    await server.set_build_info(NAMESPACE, "outstation", "motor stand", "1.0", "1", datetime.datetime(2026, 1, 1))
    motor = Motor(server, seed, fault, severity)
    await motor.enter()
    loop = asyncio.get_running_loop()
    async with server:
        print(json.dumps({"port": port}), flush=True)
        due_s = loop.time()
        while True:
            due_s += SECOND_S
            await asyncio.sleep(due_s - loop.time())
            await motor.turn()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", choices=bearing.FAULTS, default="", help="of the bearing; left out: none")
    parser.add_argument("--severity", type=float, default=0.0, help="of the fault, 0 to 1")
    options = parser.parse_args()
    logging.getLogger("asyncua").setLevel(logging.ERROR)
    asyncio.run(serve(options.port, options.seed, options.fault, options.severity))


if __name__ == "__main__":
    main()
