"""`outstation-agent pipeline check FILE` and `... try FILE --input DATA`: a pipeline on the desk, without a plant.

`check` says what is wrong, with the line, or what the pipeline is and which bindings it needs. `try` takes recorded
data through it and shows value and quality after every stage.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec

from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline.config import PipelineConfig
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.rehearsal import Rehearsal, RehearsalFailed


def main(argv: Sequence[str], *, out: TextIO | None = None) -> int:
    """Runs the verb in `argv`; 0: fine, 1: the pipeline or the data is not, 2: the call is not."""
    out = sys.stdout if out is None else out
    arguments = _parser().parse_args(argv)
    try:
        bindings = None if arguments.bindings is None else tomllib.loads(Path(arguments.bindings).read_text("utf-8"))
        text = Path(arguments.file).read_text("utf-8")
        config = pipeline_config.load(text, bindings=bindings, file=arguments.file)
        if arguments.verb == "check":
            _check(config, as_json=arguments.json, out=out)
        else:
            _try(config, arguments, out)
    except ConfigError as error:
        _say(out, arguments.json, str(error), _fields(error))
        return 1
    except (RehearsalFailed, OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        _say(out, arguments.json, str(error), {"message": str(error)})
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outstation-agent pipeline", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("check", help="what is wrong with a pipeline, or what it needs")
    rehearse = verbs.add_parser("try", help="recorded data through a pipeline, stage by stage")
    rehearse.add_argument("--input", required=True, metavar="DATA", help="a .csv, .npy, picture, or a folder of them")
    rehearse.add_argument("--model", metavar="FILE", help="the .onnx; without it the pipeline ends before the model")
    rehearse.add_argument("--frames", type=int, default=3, help="how many frames to show from the end (default 3)")
    for verb in (check, rehearse):
        verb.add_argument("file", metavar="FILE", help="the pipeline.toml")
        verb.add_argument("--bindings", metavar="FILE", help="a .toml of this node's own names")
        verb.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _check(config: PipelineConfig, *, as_json: bool, out: TextIO) -> None:
    Rehearsal.check(config)
    facts = {
        "ok": True,
        "name": config.name,
        "digest": config.digest,
        "bindings": list(config.bindings),
        "bound": config.bound,
        "stages": [*(f"{s.use} {s.id}" for s in config.sources), *(s.use for s in config.steps)],
        "decide": config.decide.use,
        "sinks": [sink.use for sink in config.sinks],
    }
    if as_json:
        print(msgspec.json.encode(facts).decode(), file=out)
        return
    print(f"{config.name}: ok", file=out)
    chain = [*facts["stages"], "model", f"decide {config.decide.use}"]  # type: ignore[misc]
    print(f"  {' -> '.join(chain)}", file=out)
    print(f"  sinks: {', '.join(sink.use for sink in config.sinks) or 'none'}", file=out)
    if config.bindings:
        note = "" if config.bound else " (not given: what depends on them was not checked)"
        print(f"  bindings: {', '.join(config.bindings)}{note}", file=out)


def _try(config: PipelineConfig, arguments: argparse.Namespace, out: TextIO) -> None:
    model = arguments.model
    package = config.model.given.get("package", "")
    if model is None and package and (Path(arguments.file).parent / package).is_file():
        model = str(Path(arguments.file).parent / package)
    rehearsal = Rehearsal(config, Path(arguments.input), None if model is None else Path(model))
    if arguments.json:
        for line in rehearsal.run():
            print(msgspec.json.encode(line).decode(), file=out)
        print(msgspec.json.encode({"stages": rehearsal.stages(), "decisions": rehearsal.decisions}).decode(), file=out)
        return
    rehearsal.show(out, frames_max=arguments.frames)


def _fields(error: ConfigError) -> dict[str, Any]:
    return {
        "file": error.file,
        "line": error.line,
        "key": error.key,
        "message": error.message,
        "allowed": list(error.allowed),
    }


def _say(out: TextIO, as_json: bool, text: str, fields: dict[str, Any]) -> None:
    if as_json:
        print(msgspec.json.encode({"ok": False, "error": fields}).decode(), file=out)
    else:
        print(text, file=out)
