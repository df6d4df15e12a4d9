"""Where a Modbus device is: over TCP, over a serial line (RTU), or RTU frames through a serial server's TCP port."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

PORT: Final = 502
_EXAMPLES: Final = "tcp://10.0.0.5:502, rtu:///dev/ttyUSB0?baud=19200&parity=E or rtu+tcp://10.0.0.6:4001"
_LINE_KEYS: Final = ("baud", "parity", "stop", "bits")


class Place(NamedTuple):
    """A parsed address. `device`: the serial line's file, "" over TCP. `rtu`: frames with a CRC and no header."""

    host: str
    port: int
    rtu: bool
    device: str = ""
    baud: int = 19_200
    parity: str = "E"
    stop_bits: int = 1
    bits: int = 8

    def __str__(self) -> str:
        return self.device or f"{self.host}:{self.port}"


def place(url: str) -> Place:
    """Reads an address. A serial line without settings is 19200 8E1, the specification's default. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme == "rtu" and parts.path.startswith("/") and not parts.netloc:
        return _line(url, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)))
    if parts.scheme not in ("tcp", "rtu+tcp") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url!r} is not an address like {_EXAMPLES}")
    return Place(parts.hostname, parts.port or PORT, parts.scheme == "rtu+tcp")


def _line(url: str, device: str, settings: dict[str, str]) -> Place:
    for key in settings:
        if key not in _LINE_KEYS:
            raise ValueError(f"{url!r}: there is no {key!r}; there is: {', '.join(_LINE_KEYS)}")
    parity = settings.get("parity", "E").upper()
    try:
        baud, stop, bits = (
            int(settings.get(key, word)) for key, word in (("baud", "19200"), ("stop", "1"), ("bits", "8"))
        )
    except ValueError:
        raise ValueError(f"{url!r}: baud, stop and bits are numbers") from None
    if parity not in ("N", "E", "O") or stop not in (1, 2) or bits not in (7, 8) or not 300 <= baud <= 4_000_000:
        raise ValueError(f"{url!r}: parity is N, E or O, stop 1 or 2, bits 7 or 8, baud 300 or more")
    return Place("", 0, True, device, baud, parity, stop, bits)
