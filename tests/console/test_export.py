"""Records as a data set: complete, in order, harmless in a spreadsheet, and saying where it comes from."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from console.records import parquet
from console.records.export import Query, export, facts_path
from console.records.forms import COLUMNS, form_of, safe_cell
from nodeagent.protocol import Gap, Record, RecordsPage

BOOT = 1 << 48


def record(number: int, **change: Any) -> Record:
    plain: dict[str, Any] = {
        "key": BOOT + number * 1000,
        "bundle": "pump",
        "revision": 2,
        "wall_us": 1_700_000_000_000_000 + number * 1_000_000,
        "source_us": None,
        "latency_us": 50,
        "score": -0.25,
        "label": "",
        "decision": "normal",
        "quality": 0,
        "reason": "",
        "inputs": [1.5, -2.0],
        "digest": "sha256:aa",
        "config": "sha256:cc",
    }
    return Record(**(plain | change))


class Node:
    """Answers as a node's records do, a few at a time; a record may come while it is read."""

    def __init__(self, records: list[Record], gaps: list[Gap] | None = None, page: int = 7) -> None:
        self.records_, self.gaps, self.page, self.asked = records, gaps or [], page, 0

    async def records(
        self,
        bundle: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        context: str | None = None,
        newest_first: bool = False,
    ) -> RecordsPage:
        self.asked += 1
        if newest_first:
            return RecordsPage(records=self.records_[-1:])
        found = [each for each in self.records_ if each.key > (after or 0)][: min(limit or 100, self.page)]
        more = found and found[-1].key != self.records_[-1].key
        gaps = [gap for gap in self.gaps if found and found[0].key <= gap.key_from <= found[-1].key]
        self.records_.append(record(len(self.records_) + 1000))  # the node goes on predicting
        return RecordsPage(records=found, gaps=gaps, next=found[-1].key if more else None)


def exported(path: Path, nodes: dict[str, Node], since_us: int | None = None) -> dict[str, Any]:
    query = Query(bundle="pump", nodes=list(nodes), since_us=since_us)
    return asyncio.run(export(nodes, query, path, by="alice", clock_us=lambda: 1_700_000_100_000_000))


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def test_every_record_of_every_node_is_there_once_and_in_order(tmp_path: Path) -> None:
    nodes = {"a": Node([record(n) for n in range(50)]), "b": Node([record(n) for n in range(20)]), "c": Node([])}
    facts = exported(tmp_path / "set.jsonl", nodes)
    rows = [json.loads(line) for line in (tmp_path / "set.jsonl").read_text().splitlines()]
    assert [(row["node"], row["key"]) for row in rows] == [
        (node, BOOT + n * 1000) for node, count in (("a", 50), ("b", 20)) for n in range(count)
    ]
    assert rows[0]["inputs"] == [1.5, -2.0]
    assert rows[0]["time"] == "2023-11-14T22:13:20.000000Z"
    assert facts["rows"] == {"a": 50, "b": 20, "c": 0}


def test_since_is_found_without_reading_what_is_older(tmp_path: Path) -> None:
    node = Node([record(n) for n in range(5000)], page=100)
    exported(tmp_path / "set.csv", {"a": node}, since_us=record(4900).wall_us)
    rows = table(tmp_path / "set.csv")
    assert [int(row["key"]) for row in rows] == [record(n).key for n in range(4900, 5000)]
    assert node.asked < 60


def test_a_csv_file_says_the_same_and_keeps_numbers_as_numbers(tmp_path: Path) -> None:
    exported(tmp_path / "set.csv", {"a": Node([record(1, label="worn", quality=1)])})
    (row,) = table(tmp_path / "set.csv")
    assert tuple(row) == COLUMNS
    assert (row["score"], row["label"], row["quality"], row["source_us"]) == ("-0.25", "worn", "Uncertain", "")
    assert json.loads(row["inputs"]) == [1.5, -2.0]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|"/c calc"!A1'])
def test_text_from_a_node_never_becomes_a_formula(tmp_path: Path, text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    exported(tmp_path / "set.csv", {text: Node([record(1, label=text, reason=text, decision=text)])})
    (row,) = table(tmp_path / "set.csv")
    assert {row[name] for name in ("node", "label", "reason", "decision")} == {f"'{text}"}


@pytest.mark.parametrize("end", ["csv", "parquet", "json"])
def test_of_one_product_alone_are_the_rows_that_say_so_and_each_says_it(tmp_path: Path, end: str) -> None:
    said = ("product=A4 shift=1", "product=B7", "")
    records = [record(n, context=said[n % 3]) for n in range(9)]
    query, path = Query(bundle="pump", nodes=["a"], context="product=A4"), tmp_path / f"set.{end}"
    facts = asyncio.run(export({"a": Node(records)}, query, path, by="alice", clock_us=lambda: 0))
    assert (facts["rows"], facts["contexts"]) == ({"a": 3}, {"product=A4 shift=1": 3})
    if end == "csv":
        found = [row["context"] for row in table(path)]
    elif end == "json":
        found = [task["data"]["context"] for task in json.loads(path.read_text())]
    else:
        found = [row[0] for row in duckdb.sql(f"SELECT context FROM read_parquet({parquet._quoted(path)})").fetchall()]
    assert found == ["product=A4 shift=1"] * 3


def test_beside_it_stands_where_it_comes_from(tmp_path: Path) -> None:
    gap = Gap(key_from=record(1).key, key_to=record(2).key, count=3, reason="queue full")
    records = [record(n, label="worn" if n < 3 else "", digest=f"sha256:{n % 2}") for n in range(10)]
    path = tmp_path / "set.csv"
    told = exported(path, {"a": Node(records, [gap], page=100)})
    facts = json.loads(facts_path(path).read_text())
    assert facts == msgspec.to_builtins(told)
    (file,) = facts["files"]
    assert (file["sha256"], file["bytes"]) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    assert (facts["by"], facts["query"]) == (
        "alice",
        {"bundle": "pump", "nodes": ["a"], "since_us": None, "context": ""},
    )
    assert (facts["models"], facts["labels"]) == ({"sha256:0": 5, "sha256:1": 5}, {"worn": 3})
    assert (facts["rows"], facts["lost"]) == ({"a": 10}, {"a": 3})
    assert facts["span"] == {"first_us": record(0).wall_us, "last_us": record(9).wall_us}


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class LinkGone(Exception):
        pass

    class Lost(Node):
        async def records(self, bundle: str, **query: Any) -> RecordsPage:
            if query.get("after"):
                raise LinkGone
            return await super().records(bundle, **query)

    with pytest.raises(LinkGone):
        exported(tmp_path / "set.csv", {"a": Lost([record(n) for n in range(50)])})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "chosen", "form"),
    [
        ("set.parquet", "", "parquet"),
        ("set.csv", "csv", "csv"),
        ("set.json", "", "labelstudio"),
        ("set.data", "jsonl", "jsonl"),
    ],
)
def test_the_end_of_the_name_says_the_form_or_the_person_does(name: str, chosen: str, form: str) -> None:
    assert form_of(Path(name), chosen) == form


@pytest.mark.parametrize(("name", "chosen"), [("set.txt", ""), ("set.csv", "parquet"), ("set", "")])
def test_a_name_that_says_no_form_or_another_is_refused(name: str, chosen: str) -> None:
    with pytest.raises(ValueError, match=name):
        form_of(Path(name), chosen)


def test_a_parquet_file_holds_the_rows_with_their_types_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "it's a set.parquet"
    facts = exported(path, {"a": Node([record(n, inputs=None if n == 3 else [1.5, -2.0]) for n in range(50)])})
    rows = duckdb.sql(f"SELECT key, score, inputs, quality FROM read_parquet({parquet._quoted(path)})").fetchall()
    assert len(rows) == 50
    assert rows[0] == (record(0).key, -0.25, [1.5, -2.0], "Good")
    assert rows[3][2] is None
    (file,) = facts["files"]
    assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "it's a set.dataset.json", "it's a set.lineage.ndjson", "it's a set.parquet",
    ]  # fmt: skip


def test_duckdb_may_fetch_and_load_no_extension(tmp_path: Path) -> None:
    connection = duckdb.connect(":memory:", config=parquet.CONFIG)
    for name in ("autoinstall_known_extensions", "autoload_known_extensions"):
        assert connection.sql(f"SELECT current_setting('{name}')").fetchall() == [(False,)]


def test_one_event_of_openlineage_says_what_went_into_what(tmp_path: Path) -> None:
    facts = exported(tmp_path / "set.csv", {"a": Node([record(n) for n in range(9)]), "b": Node([])})
    (line,) = (tmp_path / "set.lineage.ndjson").read_text().splitlines()
    event = json.loads(line)
    assert (event["eventType"], event["job"]["name"]) == ("COMPLETE", "export.pump")
    assert {(each["namespace"], each["name"]) for each in event["inputs"]} == {
        ("outstation://a", "pump"), ("outstation://b", "pump"),
    }  # fmt: skip
    (output,) = event["outputs"]
    assert output["facets"]["outstation_dataset"]["sha256"] == facts["files"][0]["sha256"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 9
    assert all("_schemaURL" in facet for facet in (*output["facets"].values(), *output["outputFacets"].values()))
