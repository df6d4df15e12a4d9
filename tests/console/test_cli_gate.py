"""`outstation passport` and `outstation backtest`: what is known of a bundle before anything on a node changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from console.__main__ import main
from console.delivery.gate import in_short, percent, verdict_of
from console.delivery.inspect import facts_from_model
from console.home import Home, row_of
from nodeagent.protocol import Bindings, GateVerdict, Passport, PassportItem, Record, RecordsPage
from store import builder

Run = Callable[..., Any]
PIPELINE = """
schema = 1
name = "press"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = "${limit}"
[[sink]]
type = "record"
"""


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["--home", str(tmp_path / "home"), "--operator", "alice", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """`press` 1.0: y is three times vib; not signed, which neither verb needs."""
    folder = tmp_path / "press"
    folder.mkdir()
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "multiply",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array([3.0], "f4"), "factor")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "pipeline.toml").write_text(PIPELINE)
    cases = np.array([[[1.0]], [[-2.0]]], "f4")
    np.savez(folder / "golden.npz", **{"input.x": cases, "output.y": cases * np.float32(3)})
    (folder / "bundle.toml").write_text(
        'name = "press"\nversion = "1.0"\nsequence = 1\nepoch = 1\n'
        '[files]\nmodel = "model.onnx"\npipeline = "pipeline.toml"\nbaseline = ""\n'
    )
    builder.build(folder, folder, facts_from_model)
    (made,) = folder.glob("*.ostn")
    return made


async def known(plant: Any, home: Home, *names: str) -> None:
    lines = []
    for name in names:
        address = await plant.node(name)
        with home.open_catalog() as catalog:
            catalog.put_node(row_of(address))
        key = (plant.folder / f"{name}.key.pub").read_text().split()
        lines.append(f"[{address.host}]:{address.port} {key[0]} {key[1]}\n")
    home.known_hosts.write_text("".join(lines))


def test_a_passport_is_a_line_a_node_and_what_is_not_yes_with_its_fix(
    in_plant: Any, cli: Run, bundle: Path, tmp_path: Path
) -> None:
    async def body(plant: Any) -> None:
        await known(plant, Home(tmp_path / "home"), "press-07", "press-08", "press-09")
        good = PassportItem(name="memory", verdict="yes", text="enough")
        bad = PassportItem(
            name="bindings", verdict="no", text="not bound: limit", fix="outstation node bind NODE limit=..."
        )
        plant.agents["press-07"].handle["POST", "/passport"] = lambda query, body: Passport(fits=True, items=[good])
        plant.agents["press-08"].handle["POST", "/passport"] = lambda query, body: Passport(
            fits=False, items=[good, bad]
        )
        await plant.servers["press-09"].unplug()
        code, out, _ = await cli("passport", str(bundle), "press-07", "press-08", "press-09")
        assert code == 1
        assert [line.split() for line in out.splitlines()[1:5]] == [
            ["NODE", "FITS", "MEMORY", "SIGNATURE", "BINDINGS"],
            ["press-07", "yes", "yes", "warn"],
            ["press-08", "NO", "yes", "warn", "no"],
            ["press-09", "?", "?", "?", "?"],
        ]
        assert "outstation node bind press-08 limit=..." in out
        assert "enough" not in out
        assert "enough" in (await cli("passport", str(bundle), "press-07", "--all"))[1]
        assert (await cli("passport", str(bundle), "press-07"))[0] == 0
        assert (await cli("passport", str(bundle), "press-09"))[0] == 3

    in_plant(body)


def recorded(count: int, *, seconds_ago: int = 0, now_us: int) -> list[Record]:
    """Predictions of a model that said 2 * vib, vib = 1; all normal."""
    return [
        Record(
            key=(1 << 48) + n, bundle="press", revision=1, wall_us=now_us - seconds_ago * 1_000_000 - n, source_us=None,
            latency_us=500, score=2.0, label="", decision="normal", quality=0, reason="", inputs=[1.0], config="c"
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(("limit", "code", "verdict"), [(10.0, 0, "passed"), (2.5, 1, "failed")])
def test_a_backtest_runs_a_bundle_over_what_the_node_recorded(
    in_plant: Any, cli: Run, bundle: Path, tmp_path: Path, limit: float, code: int, verdict: str
) -> None:
    async def body(plant: Any) -> None:
        await known(plant, Home(tmp_path / "home"), "press-07")
        agent = plant.agents["press-07"]
        now_us = agent.telemetry().wall_us
        rows = recorded(30, now_us=now_us) + recorded(5, seconds_ago=7_200, now_us=now_us)
        agent.handle["GET", "/bindings"] = lambda query, body: Bindings(revision=1, values={"limit": limit})
        agent.handle["GET", "/records"] = lambda query, body: RecordsPage(records=rows)
        found, out, err = await cli("backtest", str(bundle), "press-07", "--since", "1h", "--json")
        told = json.loads(out)
        assert (found, err, told["verdict"], told["rows"]) == (code, "", verdict, 30)
        assert told["score_shift_mean"] == pytest.approx(1.0)
        assert told["flips"] == ({} if code == 0 else {"normal -> alarm": 30})
        text = (await cli("backtest", str(bundle), "press-07", "--since", "1h"))[1]
        assert "latency on this machine: p50" in text
        assert "steps of the pipeline differ" in text

    in_plant(body)


def test_no_kept_inputs_is_unknown_and_not_ok(in_plant: Any, cli: Run, bundle: Path, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        await known(plant, Home(tmp_path / "home"), "press-07")
        agent = plant.agents["press-07"]
        agent.handle["GET", "/bindings"] = lambda query, body: Bindings(revision=1, values={"limit": 1.0})
        agent.handle["GET", "/records"] = lambda query, body: RecordsPage(records=[])
        code, out, _ = await cli("backtest", str(bundle), "press-07")
        assert (code, "gate unknown: no recorded prediction" in out) == (3, True)

    in_plant(body)


def test_a_share_that_is_not_whole_never_reads_as_all_of_it() -> None:
    assert [percent(share) for share in (1.0, 0.99999, 0.998, 0.0)] == ["100 %", "99.99 %", "99.8 %", "0 %"]
    kept = {"gate": {"verdict": "passed", "rows": 1000, "agreement": 0.998, "latency_ms_p95": 1.25}}
    verdict = verdict_of(kept)
    assert isinstance(verdict, GateVerdict)
    assert in_short(verdict) == "gate passed: 1,000 rows, agreement 99.8 %, p95 1.25 ms"
    assert verdict_of({}) is None
    assert verdict_of({"gate": {"verdict": "maybe"}}) == GateVerdict(
        verdict="unknown", reasons=["the verdict is of another version of the agent"]
    )
