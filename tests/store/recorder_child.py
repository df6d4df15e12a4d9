"""A process that records until it is killed: argv is folder, rows a second, seconds, boot number, synchronous mode.

Row n carries `source_us` n. After each batch it prints how many rows it offered, and each commit's last key.
"""

import os
import sqlite3
import sys
import time
from pathlib import Path

from store import db
from store.recorder import Recorder, Row

BATCH_S = 0.001


def main() -> None:
    """Offer rows at the asked pace; never close."""
    folder, rate, seconds, boot, mode = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:6]

    def opener(path: Path) -> sqlite3.Connection:
        conn = db.open_writer(path)
        conn.execute(f"PRAGMA synchronous={mode}")
        return conn

    recorder = Recorder(
        folder,
        bundle="child",
        revision=1,
        digest="sha256:" + "1" * 64,
        config="sha256:" + "2" * 64,
        boot_number=int(boot),
        clock_us=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000,
        segment_bytes=4 << 20,
        free_bytes_min=0,
        free_share_min=0.0,
        opener=opener,
        on_commit=lambda key: _say(f"committed {key}"),
    )
    _say("ready")
    began_s, sent = time.monotonic(), 0
    while time.monotonic() - began_s < seconds:
        due = int((time.monotonic() - began_s + BATCH_S) * rate)
        recorder.offer_many(
            [
                Row(1_700_000_000_000_000 + n, n, 120, n % 7 / 7, "normal", "alarm" if n % 9 == 0 else "ok", 0, "",
                    b"\x01\x02\x03\x04" * 8, b"\0\0\0\0")
                for n in range(sent, due)
            ]
        )  # fmt: skip
        sent = max(sent, due)
        _say(f"offered {sent}")
        time.sleep(BATCH_S)
    _say("done")
    time.sleep(60)


def _say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


if __name__ == "__main__":
    main()
