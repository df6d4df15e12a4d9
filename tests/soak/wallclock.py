"""The wall clock of the whole plant, to be set without leave of the kernel (wallclock.c, preloaded)."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("wallclock.c")


@dataclass(frozen=True)
class WallClock:
    """`file` holds the seconds that the plant's clocks are ahead; `library` makes processes read it."""

    file: Path
    library: Path

    @classmethod
    def build(cls, folder: Path) -> WallClock:
        library = folder / "wallclock.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        clock = cls(folder / "wallclock", library)
        clock.file.write_bytes(struct.pack("=q", 0))
        return clock

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to be subject to it."""
        return {"LD_PRELOAD": str(self.library), "SOAK_WALLCLOCK": str(self.file)}

    @property
    def ahead_s(self) -> int:
        """How far the plant's clocks are ahead now."""
        return int(struct.unpack("=q", self.file.read_bytes())[0])

    def set(self, ahead_s: int) -> None:
        """All at once, for every process that was started with `environment`."""
        with self.file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", ahead_s))
