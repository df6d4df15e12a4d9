"""Many sweeps as columns: what a step that can takes at once, with a quality and a reason for each value as ever."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nodeagent.frame import Floats, Frame, Mask, Qualities
from nodeagent.pipeline.step import Step


@dataclasses.dataclass(slots=True, eq=False)
class Block:
    """Sweeps of the same tags without waveforms: row i of `values` and `quality` is a Frame's, and so is `reasons[i]`.

    `origin[i]`: which of the sweeps that went in made this one leave.
    """

    names: tuple[str, ...]
    values: Floats
    quality: Qualities
    reasons: list[dict[int, str]]
    source_us: list[int]
    received_us: list[int]
    source: str
    origin: list[int]

    def __len__(self) -> int:
        return len(self.reasons)

    def frame(self, at: int) -> Frame:
        """Row `at` as a frame; its values, qualities and reasons are the block's own."""
        return Frame(
            self.names,
            self.values[at],
            self.quality[at],
            self.reasons[at],
            self.source_us[at],
            self.received_us[at],
            None,
            self.source,
        )

    def mark(self, mask: Mask, quality: int, reason: str) -> int:
        """As Frame.mark, for all rows."""
        worse = mask & (self.quality < quality)
        if not worse.any():
            return 0
        self.quality[worse] = quality
        rows, columns = worse.nonzero()
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            self.reasons[row][column] = reason
        return len(rows)

    def part(self, first: int, end: int) -> Block:
        """Rows `first` to before `end`, shared with this block."""
        return Block(
            self.names,
            self.values[first:end],
            self.quality[first:end],
            self.reasons[first:end],
            self.source_us[first:end],
            self.received_us[first:end],
            self.source,
            self.origin[first:end],
        )


@runtime_checkable
class BlockStep(Protocol):
    """A step that takes many sweeps at once, and leaves bit for bit what one after another would."""

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        """What leaves (None: nothing), and how many values became worse. May change `block` in place."""


def block_of(frames: Sequence[Frame]) -> Block:
    """The frames, which have the same tags and no waveform, copied."""
    return Block(
        frames[0].names,
        np.array([frame.values for frame in frames]),
        np.array([frame.quality for frame in frames]),
        [dict(frame.reasons) if frame.reasons else {} for frame in frames],
        [frame.source_us for frame in frames],
        [frame.received_us for frame in frames],
        frames[0].source,
        list(range(len(frames))),
    )


def blockable(frames: Sequence[Frame]) -> bool:
    """Whether they make one block."""
    first = frames[0]
    return all(
        each.blob is None and (each.names is first.names or each.names == first.names) and each.source == first.source
        for each in frames
    )


def each_by_itself(step: Step, block: Block) -> tuple[Block | None, int]:
    """What `step` makes of the rows one after another: for a step that knows no blocks."""
    left: list[Frame] = []
    origin: list[int] = []
    total = 0
    for at in range(len(block)):
        leaving, marked = step.apply(block.frame(at))
        total += marked
        if leaving is not None:
            left.append(leaving)
            origin.append(block.origin[at])
    return joined(left, origin), total


def joined(frames: Sequence[Frame], origin: list[int]) -> Block | None:
    """Frames that left a step as a block again."""
    if not frames:
        return None
    made = block_of(frames)
    made.origin = origin
    return made


def rows_of(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Where the mask holds, as plain numbers."""
    return [int(at) for at in np.flatnonzero(mask)]


def concatenated(blocks: Sequence[Block]) -> Block | None:
    """Blocks of the same tags one behind another."""
    if len(blocks) < 2:
        return blocks[0] if blocks else None
    return Block(
        blocks[0].names,
        np.concatenate([block.values for block in blocks]),
        np.concatenate([block.quality for block in blocks]),
        [each for block in blocks for each in block.reasons],
        [each for block in blocks for each in block.source_us],
        [each for block in blocks for each in block.received_us],
        blocks[0].source,
        [each for block in blocks for each in block.origin],
    )
