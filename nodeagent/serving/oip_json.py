"""JSON requests that differ in their numbers only: clients send the same text around them every time.

A request is known again by the bytes before and behind its one list of numbers, so that the list is all that is left
to decode. Whatever is not exactly so, or may be wrong, takes the ordinary way, which says what is wrong.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from nodeagent.http.message import Reply
from nodeagent.model.tensors import Array, flat_decoder
from nodeagent.serving.oip_call import Call, Numbers, Plan

TEMPLATES_KEPT_MAX = 128
TEXT_BYTES_MAX = 4_096
_KEY = b'"data":'
_SPACE = ord(" ")


class _Template(NamedTuple):
    plan: Plan
    numbers: Numbers
    decoder: msgspec.json.Decoder[Any]
    size: int
    low: float
    high: float


class Templates:
    """Plans by what stands around the numbers."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, bytes], _Template] = {}

    def call(self, body: bytes, reply: Reply) -> Call | None:
        """The call of a request whose text is known; None: it takes the ordinary way."""
        start, end = _list_of(body)
        template = self._kept.get((body[:start], body[end:]))
        if template is None:
            return None
        plan, numbers, decoder, size, low, high = template
        try:
            values = decoder.decode(memoryview(body)[start:end])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if len(values) != size or (size and not (low <= min(values) and max(values) <= high)):
            return None
        return Call(plan, body, None, reply, values, numbers)

    def learn(self, body: bytes, data: msgspec.Raw, plan: Plan, array: Array) -> None:
        """Keeps the text of a request that the ordinary way took, where it can be told from any other."""
        start, end = _list_of(body)
        before, behind = body[:start], body[end:]
        if (
            array.dtype.kind not in "uif"
            or len(before) + len(behind) > TEXT_BYTES_MAX
            or body[start:end] != bytes(data)
        ):
            return
        # Without a backslash a key is what it looks like; named once, it is the tensor's own.
        if b"\\" in body or body.count(b'"data"') != 1:
            return
        if len(self._kept) >= TEMPLATES_KEPT_MAX:
            self._kept.clear()
        limits: Any = np.finfo(array.dtype) if array.dtype.kind == "f" else np.iinfo(array.dtype)
        low, high = np.array([limits.min, limits.max], array.dtype).tolist()
        numbers, decoder = Numbers(array.dtype, array.shape), flat_decoder(array.dtype)
        self._kept[before, behind] = _Template(plan, numbers, decoder, array.size, low, high)


def _list_of(body: bytes) -> tuple[int, int]:
    """Where the first list under a key `data` may begin and end."""
    start = body.find(_KEY) + len(_KEY)
    if start < len(body) and body[start] == _SPACE:  # as Python's json writes it
        start += 1
    return start, body.find(b"]", start) + 1
