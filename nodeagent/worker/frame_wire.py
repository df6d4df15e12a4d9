"""A sweep frame as bytes, from the worker that holds the plant right to the one that is getting warm."""

from __future__ import annotations

from typing import Any

from nodeagent.frame import Frame
from nodeagent.pipeline import state


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    return state.encode(
        {
            "names": frame.names,
            "values": frame.values,
            "quality": frame.quality,
            "reasons": list(frame.reasons.items()),
            "source_us": frame.source_us,
            "received_us": frame.received_us,
            "blob": frame.blob,
            "source": frame.source,
        }
    )


def decode(data: bytes) -> Frame:
    """The frame that `encode` was given. Raises StateRefused."""
    try:
        fields: dict[str, Any] = state.decode(data)
        names, reasons = tuple(fields.pop("names")), dict(fields.pop("reasons"))
        return Frame(names=names, reasons=reasons, **fields)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise state.StateRefused("not a frame") from error
