"""`outstation-agent`: makes a node, runs it, joins an SSH session to it, and what a person at the node needs.

Every verb imports what it needs and no more: the launcher and the bridge stay with the standard library.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

STATE_VARIABLE = "OUTSTATION_STATE"
STATE_DEFAULT = "/var/lib/outstation"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: done; 1: refused or not well, and why; 2: usage; 66: no agent (connect); 78: configuration."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["pipeline"]:
        from nodeagent.pipeline.cli import main as pipeline

        return pipeline(arguments[1:])
    if arguments[:2] == ["source", "accept"]:
        from nodeagent.sources.device import main as accept

        return accept(arguments[2:])
    if arguments[:2] == ["source", "probe"]:
        from nodeagent.sources.probe import main as probe

        return probe(arguments[2:])
    if arguments[:1] == ["bundle-new"]:
        from nodeagent.authoring.new_bundle import main as begin

        return begin(arguments[1:])
    if arguments[:1] == ["import"]:
        from nodeagent.stick import main as bring

        return bring(arguments[1:], Path(os.environ.get(STATE_VARIABLE, STATE_DEFAULT)))
    if arguments[:1] == ["export"]:
        from nodeagent.oneway import main as export

        return export(arguments[1:], Path(os.environ.get(STATE_VARIABLE, STATE_DEFAULT)))
    options = _parser().parse_args(arguments)
    verb = {
        "init": _init,
        "run": _run,
        "connect": _connect,
        "hold": _local,
        "release": _local,
        "status": _local,
        "check": _check,
        "inspect-model": _inspect_model,
        "version": _version,
    }[options.verb]
    return verb(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outstation-agent", description="The agent on a node.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    state = argparse.ArgumentParser(add_help=False)
    default = Path(os.environ.get(STATE_VARIABLE, STATE_DEFAULT))
    state.add_argument("--state", type=Path, default=default, help=f"the node's folder (${STATE_VARIABLE}, {default})")
    init = verbs.add_parser("init", parents=[state], help="make a node: its id, its folders, who may sign")
    init.add_argument("--allow-signer", type=Path, metavar="FILE", help="lines of an allowed_signers file")
    init.add_argument("--name", default="", help="the node's name (the host's)")
    init.add_argument("--site", default="", help="where it stands")
    verbs.add_parser("run", parents=[state], help="run the node in the foreground, as its service does")
    connect = verbs.add_parser("connect", parents=[state], help="join standard input and output to the agent")
    connect.add_argument("--as", dest="actor", default="", metavar="NAME", help="who is speaking, for the ledger")
    connect.add_argument("--role", choices=("monitor", "operate", "release"), default="operate")
    connect.add_argument("--stdio", action="store_true", help="the only way there is; said by older consoles")
    connect.add_argument("--socket", type=Path, help="the agent's socket, where it is not the state folder's")
    connect.add_argument("path", nargs="?", type=Path, help=argparse.SUPPRESS)
    for verb, text in (("hold", "outputs to the safe value, now"), ("release", "end a hold")):
        verbs.add_parser(verb, parents=[state], help=text).add_argument("--reason", default="")
    for verb, text in (("status", "how the node does"), ("check", "let the node look at itself")):
        verbs.add_parser(verb, parents=[state], help=text).add_argument("--json", action="store_true")
    inspect = verbs.add_parser("inspect-model", help="what an ONNX file says of itself, without running it")
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--json", action="store_true")
    verbs.add_parser("import", help="take a bundle from a stick, verified; nothing is activated", add_help=False)
    verbs.add_parser("export", help="a signed report of the node into a folder, for a data diode", add_help=False)
    verbs.add_parser("pipeline", help="check or try a pipeline.toml on this machine", add_help=False)
    verbs.add_parser("bundle-new", help="begin a bundle from a model and its data", add_help=False)
    verbs.add_parser(
        "source",
        help="source probe URL: what an address has to tell; source accept: of a changed device",
        add_help=False,
    )
    verbs.add_parser("version", help="the agent's version")
    return parser


def _init(options: argparse.Namespace) -> int:
    from nodeagent.state.identity import InitError, default_name, init

    name = options.name or default_name()
    try:
        node_id = init(options.state, allow_signer=options.allow_signer, name=name, site=options.site)
    except InitError as error:
        print(f"outstation-agent init: {error}", file=sys.stderr)
        return 1
    print(node_id)
    return 0


def _run(options: argparse.Namespace) -> int:
    from nodeagent.processes.launcher import main as launch
    from nodeagent.processes.listeners import ListenError
    from nodeagent.settings import SettingsError

    if not (options.state / "node.db").exists():
        print(f"outstation-agent run: {options.state} is no node: run outstation-agent init first", file=sys.stderr)
        return os.EX_CONFIG
    try:
        return launch(options.state)
    except (SettingsError, ListenError) as error:
        print(f"outstation-agent run: {error}", file=sys.stderr)
        return os.EX_CONFIG


def _connect(options: argparse.Namespace) -> int:
    from nodeagent.bridge import EXIT_NO_AGENT, connect
    from nodeagent.settings import SettingsError, load

    path = options.socket or options.path
    try:
        if path is None:
            name = "monitor.sock" if options.role == "monitor" else "agent.sock"
            path = load(options.state).run_dir(options.state) / name
        return connect(path, actor=options.actor, role=options.role)
    except (SettingsError, ValueError) as error:
        print(f"outstation-agent connect: {error}", file=sys.stderr)
        return EXIT_NO_AGENT


def _local(options: argparse.Namespace) -> int:
    from nodeagent import local

    return local.run(options.verb, options.state, reason=getattr(options, "reason", ""), as_json=_as_json(options))


def _check(options: argparse.Namespace) -> int:
    from nodeagent import local

    return local.check(options.state, as_json=options.json)


def _inspect_model(options: argparse.Namespace) -> int:
    from nodeagent import local

    return local.inspect_model(options.file, as_json=options.json)


def _version(_: argparse.Namespace) -> int:
    from nodeagent.state import installed

    print(installed.version("outstation") or "unknown")
    return 0


def _as_json(options: argparse.Namespace) -> bool:
    return bool(getattr(options, "json", False))


if __name__ == "__main__":
    sys.exit(main())
