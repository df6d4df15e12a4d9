"""The outbox: nothing acknowledged is kept, nothing kept is lost, and what the caps take is counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import errors
from store.outbox import REJECTED_ROWS_MAX, ROW_BYTES, Message, Outbox


class Now:
    us = 0


def outbox(path: Path, *, sink: str = "mqtt", boot_id: str = "boot-1", now: Any = Now, **caps: Any) -> Outbox:
    words = {"bytes_max": 1 << 20, "age_s_max": 3600.0} | caps
    return Outbox(path, sink, boot_id=boot_id, boottime_us=lambda: now.us, **words)


def message(number: int, size: int = 10) -> Message:
    return Message("t", number.to_bytes(size, "big"))


def numbers(box: Outbox) -> list[int]:
    return [int.from_bytes(stored.message.payload, "big") for stored in box.oldest(10_000)]


def test_what_is_not_acknowledged_waits_in_order_over_a_restart(tmp_path: Path) -> None:
    box = outbox(tmp_path / "o.db")
    seqs = box.append([message(number) for number in range(4)])
    box.acknowledge(seqs[:2])
    box.close()
    again = outbox(tmp_path / "o.db")
    assert numbers(again) == [2, 3]
    assert again.tally().waiting_rows == 2
    again.close()


def test_over_its_bytes_the_oldest_goes_and_is_counted(tmp_path: Path) -> None:
    room = 3 * (ROW_BYTES + 11)
    box = outbox(tmp_path / "o.db", bytes_max=room)
    box.append([message(number) for number in range(5)])
    tally = box.tally()
    assert numbers(box) == [2, 3, 4]
    assert (tally.dropped_total, tally.waiting_bytes) == (2, room)
    box.close()


def test_over_its_age_the_oldest_goes_and_is_counted(tmp_path: Path) -> None:
    class Clock:
        us = 0

    box = outbox(tmp_path / "o.db", age_s_max=10.0, now=Clock)
    box.append([message(1)])
    Clock.us = 10_000_001
    box.append([message(2)])
    assert (numbers(box), box.tally().dropped_total) == ([2], 1)
    box.close()


def test_age_goes_on_after_a_reboot_where_it_stood_whatever_the_clocks_say(tmp_path: Path) -> None:
    class Clock:
        us = 500_000_000

    first = outbox(tmp_path / "o.db", age_s_max=10.0, now=Clock)
    first.append([message(1)])
    Clock.us += 6_000_000
    first.append([message(2)])
    first.close()
    Clock.us = 1_000_000  # a new boot: CLOCK_BOOTTIME begins again
    second = outbox(tmp_path / "o.db", boot_id="boot-2", age_s_max=10.0, now=Clock)
    Clock.us += 3_000_000
    second.append([message(3)])
    assert numbers(second) == [1, 2, 3]
    Clock.us += 2_000_000
    second.append([message(4)])
    assert numbers(second) == [2, 3, 4]
    second.close()


def test_what_the_other_end_will_never_take_goes_aside_with_the_reason(tmp_path: Path) -> None:
    box = outbox(tmp_path / "o.db")
    first, _ = box.append([message(1), message(2)])
    box.reject(first, "topic too long")
    box.reject(first, "twice")
    assert numbers(box) == [2]
    assert [reason for _, reason in box.rejected()] == ["topic too long"]
    assert box.tally().rejected_total == 1
    box.close()


def test_the_quarantine_has_an_end(tmp_path: Path) -> None:
    box = outbox(tmp_path / "o.db")
    seqs = box.append([message(number) for number in range(REJECTED_ROWS_MAX + 2)])
    for seq in seqs[-3:]:
        box.reject(seq, "x")
    for seq in seqs[:-3]:
        box.acknowledge([seq])
    assert len(box.rejected()) == 3
    box.close()


def test_two_sinks_of_one_file_do_not_touch_each_other(tmp_path: Path) -> None:
    box = outbox(tmp_path / "o.db", bytes_max=ROW_BYTES + 11)
    box.append([message(1)])
    box.close()
    other = outbox(tmp_path / "o.db", sink="other")
    assert numbers(other) == []
    other.append([message(9)])
    other.close()
    box = outbox(tmp_path / "o.db")
    assert numbers(box) == [1]
    box.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["append", "ack", "reject"]), st.integers(1, 6)), max_size=25))
def test_every_message_is_waiting_delivered_dropped_or_rejected(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}-{os.urandom(4).hex()}.db"
    box = outbox(path, bytes_max=8 * (ROW_BYTES + 11))
    made = acknowledged = 0
    for verb, count in steps:
        waiting = [stored.seq for stored in box.oldest(count)]
        if verb == "append":
            box.append([message(made + number) for number in range(count)])
            made += count
        elif verb == "ack":
            box.acknowledge(waiting)
            acknowledged += len(waiting)
        elif waiting:
            box.reject(waiting[0], "x")
    tally = box.tally()
    assert made == tally.waiting_rows + acknowledged + tally.dropped_total + tally.rejected_total
    assert tally.waiting_bytes == tally.waiting_rows * (ROW_BYTES + 11)
    assert numbers(box) == sorted(numbers(box))
    box.close()


CHILD = """
import sys
from pathlib import Path
from store.outbox import Message, Outbox
box = Outbox(Path(sys.argv[1]), "mqtt", bytes_max=1 << 30, age_s_max=3600.0, boot_id="b", boottime_us=lambda: 0)
number = 0
while True:
    box.append([Message("t", number.to_bytes(8, "big"))])
    print(number, flush=True)
    number += 1
"""


def test_every_append_that_returned_is_there_after_a_kill(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "o.db")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(40):
        child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    returned = 39 + len(child.stdout.read().splitlines())
    child.wait()
    child.stdout.close()
    box = outbox(tmp_path / "o.db")
    assert numbers(box)[: returned + 1] == list(range(returned + 1))
    box.close()


def test_a_path_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "o.db").write_bytes(b"not a database at all, and longer than a header" * 10)
    with pytest.raises(errors.StoreError):
        outbox(tmp_path / "o.db")
