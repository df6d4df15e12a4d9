"""The encoding of SSH messages (RFC 4251 section 5): a strict reader, and the writers that it accepts."""

from __future__ import annotations


class WireError(ValueError):
    """The bytes are not what the encoding allows."""


class Reader:
    """Takes fields off the front of `data`; every length is checked against what is left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self._data) - self._at:
            raise WireError("a field runs past the end")
        self._at += count
        return self._data[self._at - count : self._at]

    def uint32(self) -> int:
        """A number of four bytes."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Bytes with their length before them."""
        return self.take(self.uint32())

    def text(self) -> str:
        """A string of ASCII characters."""
        try:
            return self.string().decode("ascii")
        except UnicodeDecodeError as error:
            raise WireError("a name is not ASCII") from error

    def mpint(self) -> int:
        """A positive number, in as few bytes as it needs."""
        data = self.string()
        value = int.from_bytes(data, "big", signed=True)
        if value <= 0 or mpint(value) != string(data):
            raise WireError("a number is not positive or not in its shortest form")
        return value

    def end(self) -> None:
        """There must be nothing left."""
        if self._at != len(self._data):
            raise WireError("there are bytes after the end")


def string(data: bytes) -> bytes:
    """`data` with its length before it."""
    return len(data).to_bytes(4, "big") + data


def text(name: str) -> bytes:
    """An ASCII name with its length before it."""
    return string(name.encode("ascii"))


def uint32(value: int) -> bytes:
    """A number in four bytes."""
    return value.to_bytes(4, "big")


def mpint(value: int) -> bytes:
    """A positive number in as few bytes as it needs; a zero byte goes before a high first bit."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))
