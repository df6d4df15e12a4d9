"""Verbs that other programs of ours do: `pipeline` runs the agent's own checks, `demo` a whole plant."""

from __future__ import annotations

import argparse
import subprocess
import sys


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs. What stands after them is read by the other program."""
    pipeline = verbs.add_parser("pipeline", help="check or try a pipeline.toml on this machine")
    group = pipeline.add_subparsers(dest="pipeline_verb", required=True, metavar="VERB")
    for name, summary in (("check", "say what is wrong with it"), ("try", "run recorded data through it")):
        parser = group.add_parser(name, help=summary, add_help=False)
        parser.set_defaults(direct=run_pipeline, passes_on=True)
    demo = verbs.add_parser("demo", help="a live fleet of real agents on this machine", add_help=False)
    demo.set_defaults(direct=run_demo, passes_on=True)


def run_pipeline(args: argparse.Namespace) -> int:
    """`outstation-agent pipeline ...` in this environment; its exit code is ours."""
    command = [sys.executable, "-m", "nodeagent", "pipeline", args.pipeline_verb, *args.rest]
    return subprocess.run(command, check=False).returncode


def begin_bundle(args: argparse.Namespace) -> int:
    """`outstation-agent bundle-new ...` in this environment, where the runtime is; its exit code is ours."""
    command = [sys.executable, "-m", "nodeagent", "bundle-new", *args.rest]
    return subprocess.run(command, check=False).returncode


def run_demo(args: argparse.Namespace) -> int:
    """The demo runs its own loop."""
    from console.demo import main as demo

    parser = argparse.ArgumentParser(prog="outstation demo", description=demo.__doc__)
    demo.add_arguments(parser)
    return demo.run(parser.parse_args(args.rest))
