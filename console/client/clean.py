"""The ingest sanitiser: every string that came from a node, a file or a person far away passes here once.

What is left is printable, one line, of bounded length, and as wide on a terminal as it looks. Nothing in it can
move a cursor, write a clipboard, change a title, hide text or turn it around. The output layer filters again
(terminal/output.py); neither relies on the other. Never clean what is hashed or signed: check it raw, then clean it.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

TEXT_CHARS_MAX = 2_000
COMBINING_IN_A_ROW_MAX = 2
TAB = "    "

T = TypeVar("T")

# CSI, then OSC, then DCS/SOS/PM/APC, then two-byte sequences. Each part is linear in the length of its text.
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_MARK = r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_COMBINING = re.compile(rf"({_MARK}{{{COMBINING_IN_A_ROW_MAX}}}){_MARK}+")
# Variation selectors change how wide a terminal draws the character before them; terminals disagree about it.
_SELECTORS = re.compile(r"[\ufe00-\ufe0f]|[\U000e0100-\U000e01ef]")


def clean(text: str, limit: int = TEXT_CHARS_MAX) -> str:
    """`text` as one printable line of at most `limit` characters and an ellipsis.

    Escape sequences vanish; control characters become their pictures (␀..␟, ␡), tabs four spaces; bidi marks,
    zero-width characters, lone surrogates, private and unassigned code points become U+FFFD.
    """
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable() and text.isascii():
        return text
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    if not text.isascii():
        text = _COMBINING.sub(r"\1", _SELECTORS.sub("", text))
    return text if text.isprintable() else "".join(c if c.isprintable() else _picture(c) for c in text)


def _picture(char: str) -> str:
    if char == "\t":
        return TAB
    if char < " ":
        return chr(0x2400 + ord(char))
    if char == "\x7f":
        return "\u2421"
    return " " if char.isspace() and char not in "\x85\u2028\u2029" else "\ufffd"


def is_plain(raw: bytes) -> bool:
    """Whether JSON text holds only printable ASCII and no escape, so that decoding it needs no cleaning.

    Raw control characters are not JSON and fail in the decoder. Lengths are the reader's to bound.
    """
    return raw.isascii() and b"\\" not in raw and b"\x7f" not in raw


def clean_all(value: T, limit: int = TEXT_CHARS_MAX) -> T:
    """`value` with every string inside it cleaned: structs, lists, tuples and dicts (keys too), to any depth.

    What needs no change is returned as it is, so that a clean telemetry line costs no copies.
    """
    return _clean_any(value, limit)  # type: ignore[no-any-return]


def _clean_any(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        cleaned = clean(value, limit)
        return value if cleaned == value else cleaned
    if isinstance(value, msgspec.Struct):
        changed = {}
        for field in value.__struct_fields__:
            old = getattr(value, field)
            new = _clean_any(old, limit)
            if new is not old:
                changed[field] = new
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, list | tuple):
        items = [_clean_any(item, limit) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
    if isinstance(value, dict):
        pairs = [(_clean_any(key, limit), _clean_any(item, limit)) for key, item in value.items()]
        same = all(a is c and b is d for (a, b), (c, d) in zip(pairs, value.items(), strict=True))
        return value if same else dict(pairs)
    return value
