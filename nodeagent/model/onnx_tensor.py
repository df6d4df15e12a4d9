"""One TensorProto of an ONNX file, checked: its data are in the file, all of them, and as many as its shape says."""

from __future__ import annotations

from nodeagent.model.wire import Buffer, Refused, fields, integers, text

DATATYPES = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
    16: "BF16",
}
# TensorProto.DataType -> bits an element; 0: text, of any length.
_BITS = {
    **{1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 0, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128},
    **{16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2},
}
_SCHEMA = {
    **{1: (0, 2), 2: (0,), 3: (2,), 4: (2, 5), 5: (0, 2), 6: (2,), 7: (0, 2), 8: (2,), 9: (2,), 10: (1, 2)},
    **{11: (0, 2), 12: (2,), 13: (2,), 14: (0,), 16: (2,)},
}
_TYPED = frozenset((4, 5, 6, 7, 10, 11))
_DIMENSIONS_MAX = 64


def bits_of(kind: int) -> int:
    """Bits of one element of a TensorProto.DataType; 0 where it has no fixed size or is not known."""
    return _BITS.get(kind, 0)


def check_tensor(data: Buffer, start: int, end: int, elements_max: int) -> tuple[str, int]:
    """(name, bytes in memory). Raises Refused for external data and for data that do not match the shape."""
    name, kind, raw_bytes, typed_bytes = "", 0, -1, 0
    sizes: list[int] = []
    for field, wire, a, z in fields(data, start, end, _SCHEMA):
        if field == 1:
            sizes += integers(data, wire, a, z)
        elif field == 2:
            kind = a
        elif field == 3:
            raise Refused("a tensor in segments")
        elif field == 8:
            name = text(data, a, z)
        elif field == 9:
            raw_bytes = z - a
        elif field in _TYPED:
            typed_bytes += z - a if z else 1
        elif field == 13 or (field == 14 and a != 0):
            raise Refused("external data: a model is one file here")
    if kind not in _BITS:
        raise Refused(f"tensor {name!r} has the unknown type {kind}")
    count = _count(name, sizes, elements_max)
    needed = (count * _BITS[kind] + 7) // 8
    if raw_bytes >= 0:
        if raw_bytes != needed or kind == 8:
            raise Refused(f"tensor {name!r} has {raw_bytes} bytes of data, its shape needs {needed}")
    elif count and typed_bytes * 8 < min(count * 2, needed * 8 if needed else count):
        raise Refused(f"tensor {name!r} declares {count} elements and has no data for them")
    return name, needed if needed else typed_bytes


def _count(name: str, sizes: list[int], elements_max: int) -> int:
    if len(sizes) > _DIMENSIONS_MAX:
        raise Refused(f"tensor {name!r} has {len(sizes)} dimensions")
    count = 1
    for size in sizes:
        if size < 0:
            raise Refused(f"tensor {name!r} has a negative dimension")
        count *= size
        if count > elements_max:
            raise Refused(f"tensor {name!r} declares more than {elements_max} elements")
    return count
