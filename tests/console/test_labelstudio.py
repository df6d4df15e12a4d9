"""Tasks for Label Studio and its answer, which is foreign text."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from console.records.export import Query, export
from console.records.labelstudio import AnswerRefused, Given, interface, read
from nodeagent.protocol import Record, RecordsPage

KEY = (1 << 53) + 1


class Node:
    def __init__(self, count: int) -> None:
        self.found = [
            Record(
                key=KEY + at, bundle="pump", revision=2, wall_us=1_700_000_000_000_000, source_us=None, latency_us=5,
                score=4.5, label="", decision="alarm", quality=0, reason="", inputs=[1.0], digest="sha256:aa",
            )
            for at in range(count)
        ]  # fmt: skip

    async def records(self, bundle: str, **wanted: Any) -> RecordsPage:
        return RecordsPage(records=self.found[-1:] if wanted.get("newest_first") else self.found)


def tasks(path: Path, count: int) -> list[dict[str, Any]]:
    query = Query(bundle="pump", nodes=["pump-03"])
    asyncio.run(export({"pump-03": Node(count)}, query, path, by="alice", clock_us=lambda: 10**15))
    found: list[dict[str, Any]] = json.loads(path.read_bytes())
    return found


def answered(task: dict[str, Any], choice: Any, by: Any = 7, **more: Any) -> dict[str, Any]:
    result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}]
    return {**task, "annotations": [{"completed_by": by, "result": result, **more}]}


def answer(*found: Any) -> bytes:
    return json.dumps(found).encode()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_file_of_tasks_is_a_list_whose_keys_survive_a_number_of_javascript(tmp_path: Path, count: int) -> None:
    found = tasks(tmp_path / "tasks.json", count)
    assert [task["data"]["key"] for task in found] == [str(KEY + at) for at in range(count)]
    for task in found:
        assert task["predictions"][0]["result"][0]["value"]["choices"] == ["alarm"]


def test_the_interface_offers_the_standard_labels_and_is_sound_xml_whatever_a_label_says() -> None:
    root = ElementTree.fromstring(interface(['a"><b', "fault"]))
    assert [choice.get("value") for choice in root.iter("Choice")] == ["fault", "normal", "unsure", 'a"><b']


def test_an_answer_becomes_labels_with_the_person_who_gave_them(tmp_path: Path) -> None:
    first, second, third = tasks(tmp_path / "tasks.json", 3)
    found = read(
        answer(
            answered(first, "fault"),
            answered(second, "normal", by={"id": 3, "email": "bob@plant"}),
            answered(third, "fault", was_cancelled=True),
        )
    )
    assert found.labels == (
        Given("pump-03", "pump", KEY, "fault", "7"),
        Given("pump-03", "pump", KEY + 1, "normal", "bob@plant"),
    )
    assert (found.unanswered, found.foreign) == (1, 0)
    assert found.labels[1].note == "Label Studio, bob@plant"


@pytest.mark.parametrize(
    "data",
    [None, {}, {"node": 3, "bundle": "b", "key": "1"}, {"node": "n", "bundle": "b", "key": "x"},
     {"node": "n", "bundle": "b", "key": "9" * 30}, {"node": "n", "bundle": "b", "key": -1}],
)  # fmt: skip
def test_a_task_that_is_none_of_ours_is_counted_and_left_alone(data: Any) -> None:
    found = read(answer(answered({"data": data}, "fault")))
    assert (found.labels, found.foreign) == ((), 1)


@pytest.mark.parametrize("choice", [None, 3, "", " ", ["x"], {}])
def test_what_is_no_word_is_no_label(tmp_path: Path, choice: Any) -> None:
    (task,) = tasks(tmp_path / "tasks.json", 1)
    assert read(answer(answered(task, choice))).unanswered == 1


def test_a_hostile_label_is_cleaned_and_cut(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path / "tasks.json", 1)
    (given,) = read(answer(answered(task, "\x1b]52;c;x\x07" + "w" * 200))).labels
    assert "\x1b" not in given.label
    assert len(given.label) <= 64


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(AnswerRefused):
        read(data)
