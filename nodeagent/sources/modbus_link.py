"""A connection to a Modbus device or serial line: the border to pymodbus, whose own reconnecting and retrying are off.

pymodbus never connects again by itself when the first attempt failed, and dumps frames to its log as errors; so each
link is a new client that lives until the first fault, and its log lines are counted and not shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException, ModbusIOException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

from nodeagent.sources.modbus_place import Place, place
from nodeagent.sources.registers import Address, Block

WORD_CHARACTERS_MAX: Final = 200
_EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}


Client = AsyncModbusTcpClient | AsyncModbusSerialClient


class LinkLost(Exception):
    """The connection can no longer be trusted: closed, timed out, or an answer that is not one. Make a new link."""


class DeviceRefused(Exception):
    """The device answered with a Modbus exception; the link is fine. `code` as in the protocol."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}: {_EXCEPTIONS.get(code, 'unknown')}")
        self.code = code


class LogCounter(logging.Filter):
    """Swallows the library's log lines and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        self.count += 1
        return False


class Words(ReadHoldingRegistersResponse):
    """An answer that keeps its registers as they came.

    The library makes a number of each and a text of them all for its log, which is most of what a read costs.
    """

    wire = b""

    def decode(self, data: bytes) -> None:
        """Raises ModbusIOException for an answer that is shorter than it says."""
        length = data[0] if data else 0
        if length >= len(data) or length % 2:
            raise ModbusIOException(f"{length} bytes of registers in {len(data)}", function_code=self.function_code)
        self.wire = bytes(data[1 : 1 + length])

    def __str__(self) -> str:
        return f"Words({len(self.wire) // 2})"


class InputWords(Words):
    """As Words, of the table of input registers."""

    function_code = ReadInputRegistersResponse.function_code


def quiet() -> LogCounter:
    """Silences pymodbus, once; the counter of its lines."""
    logger = logging.getLogger("pymodbus.logging")
    for present in logger.filters:
        if isinstance(present, LogCounter):
            return present
    counter = LogCounter()
    logger.addFilter(counter)
    return counter


def endpoint(url: str) -> Place:
    """The place of `url`. Raises ValueError."""
    return place(url)


class ModbusLink:
    """An open connection. One request at a time; each is bounded by `timeout_s`."""

    def __init__(self, client: Client, unit_id: int, timeout_s: float) -> None:
        self._client = client
        self._unit_id = unit_id
        self._timeout_s = timeout_s

    @classmethod
    async def open(cls, url: str, *, unit_id: int, timeout_s: float) -> ModbusLink:
        """Connects. Raises LinkLost."""
        quiet()
        where = place(url)
        client = _client(where, timeout_s)
        client.register(Words)
        client.register(InputWords)
        link = cls(client, unit_id, timeout_s)
        try:
            async with asyncio.timeout(timeout_s * 2):
                connected = await client.connect()
        except (TimeoutError, ModbusException, OSError) as error:
            link.close()
            raise LinkLost(f"{where} does not accept: {error or 'timeout'}") from error
        except BaseException:
            link.close()
            raise
        if not connected:
            link.close()
            raise LinkLost(f"{where} does not accept a connection")
        return link

    async def read(self, block: Block) -> npt.NDArray[np.uint16] | Sequence[bool]:
        """The registers or bits of `block`. Raises LinkLost or DeviceRefused."""
        read = {
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
        }[block.table]
        unit_id = self._unit_id if block.unit_id is None else block.unit_id
        answer = await self._asked(lambda: read(block.start, count=block.count, device_id=unit_id))
        if block.table in ("coil", "discrete"):
            if len(answer.bits) < block.count:
                raise LinkLost(f"{len(answer.bits)} bits came for {block.count}")
            return answer.bits[: block.count]
        wire = answer.wire if isinstance(answer, Words) else b""
        if len(wire) != 2 * block.count:
            raise LinkLost(f"{len(wire) // 2} registers came for {block.count}")
        return np.frombuffer(wire, ">u2")

    async def identification(self) -> dict[str, str]:
        """What the device tells of itself (function 43/14): vendor, product, revision; {} where it tells nothing.

        Raises LinkLost.
        """
        try:
            answer: Any = await self._asked(
                lambda: self._client.read_device_information(read_code=1, object_id=0, device_id=self._unit_id)
            )
        except DeviceRefused:
            return {}
        words = getattr(answer, "information", {})
        return {
            name: words[at].decode("utf-8", "replace")[:WORD_CHARACTERS_MAX]
            for at, name in enumerate(("vendor", "product", "revision"))
            if isinstance(words.get(at), bytes)
        }

    async def write(self, address: Address, words: Sequence[int]) -> None:
        """Writes holding registers, or a coil (0 or 1). Raises LinkLost or DeviceRefused."""
        client, unit_id = self._client, self._unit_id
        if address.table == "coil":
            await self._asked(lambda: client.write_coil(address.number, bool(words[0]), device_id=unit_id))
        elif len(words) == 1:
            await self._asked(lambda: client.write_register(address.number, words[0], device_id=unit_id))
        else:
            await self._asked(lambda: client.write_registers(address.number, list(words), device_id=unit_id))

    def close(self) -> None:
        """Closes at once, without asking the other end."""
        with contextlib.suppress(ModbusException, OSError):
            self._client.close()

    async def _asked(self, ask: Callable[[], Awaitable[ModbusPDU]]) -> ModbusPDU:
        try:
            # Asking raises at once on a closed connection. pymodbus has its own timeout for the answer; ours is for
            # whatever else it may wait for.
            async with asyncio.timeout(self._timeout_s * 2):
                answer = await ask()
        except (TimeoutError, ModbusException, OSError) as error:
            raise LinkLost(f"no answer: {_short(error)}") from error
        if not isinstance(answer, ModbusPDU):
            raise LinkLost("no answer")
        if answer.isError():
            raise DeviceRefused(answer.exception_code)
        return answer


def _client(where: Place, timeout_s: float) -> Client:
    framer = FramerType.RTU if where.rtu else FramerType.SOCKET
    if not where.device:
        return AsyncModbusTcpClient(
            where.host, port=where.port, framer=framer, timeout=timeout_s, retries=0, reconnect_delay=0
        )
    return AsyncModbusSerialClient(
        where.device,
        framer=framer,
        baudrate=where.baud,
        bytesize=where.bits,
        parity=where.parity,
        stopbits=where.stop_bits,
        timeout=timeout_s,
        retries=0,
        reconnect_delay=0,
    )


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return "timeout" if "No response" in text or isinstance(error, TimeoutError) else text[:120]
