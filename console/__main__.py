"""`outstation`: the app without a verb, otherwise one verb of the command line. Wires; decides nothing."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130
PIPE_CLOSED = 141
USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs it; the exit code: 0 ok, 1 failed or refused, 2 wrong call, 3 unknown or not reached."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not {"-h", "--help"} & set(words) and not _has_verb(words):
            return _app(_app_parser().parse_args(words))
        parser = _parser()
        from console.cli.parser import add_verbs

        add_verbs(parser)
        args, rest = parser.parse_known_args(words)
        if rest and not getattr(args, "passes_on", False):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        args.rest = rest
        return int(args.direct(args)) if hasattr(args, "direct") else _verb(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _has_verb(words: list[str]) -> bool:
    parser = argparse.ArgumentParser(prog="outstation", add_help=False, parents=[_options(), _app_options()])
    parser.add_argument("verb", nargs="?")
    return parser.parse_known_args(words)[0].verb is not None


def _options() -> argparse.ArgumentParser:
    """What every verb and the app take, before the verb."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--home", metavar="FOLDER", help="the console's folder ($OUTSTATION_HOME)")
    parser.add_argument("--operator", metavar="NAME", help="your name as nodes write it down ($OUTSTATION_OPERATOR)")
    return parser


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="outstation",
        description="The fleet console for edge AI where there is no cloud. Without a verb: the app.",
        epilog="exit codes: 0 ok, 1 failed or refused, 2 wrong call, 3 unknown or not reached",
        parents=[_options(), _app_options()],
    )


def _app_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    app = parser.add_argument_group("the app")
    app.add_argument("--operate", action="store_true", help="start in OPERATE")
    app.add_argument("--plain", action="store_true", help="line by line: for screen readers, serial and dumb terminals")
    app.add_argument("--ascii", action="store_true", help="draw with ASCII only ($OUTSTATION_ASCII)")
    app.add_argument("--link", choices=("lan", "ssh", "thin"), help="how far away this terminal is")
    app.add_argument("--look", default="", help="a theme by name")
    app.add_argument("--record", default="", metavar="FILE", help="write down what this screen shows (asciicast v2)")
    app.add_argument("--replay", default="", metavar="FILE", help="show a recording again instead of the fleet")
    app.add_argument("--speed", type=float, default=1.0, metavar="TIMES", help="how fast it is replayed, 0.25 to 32")
    app.add_argument("--at", default="0", metavar="TIME", help="where the replay begins, such as 90s or 10m")
    return parser


def _app_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog="outstation", parents=[_options(), _app_options()])


def _verb(args: argparse.Namespace) -> int:
    """One verb to its end; every expected failure becomes two lines on standard error."""
    if not hasattr(args, "verb"):
        return USAGE
    from console.cli.session import Session
    from console.failure import EXPECTED, Failure, account
    from console.home import find_home, operator_name

    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    session = None
    try:
        session = Session(
            find_home(args.home, os.environ),
            operator_name(args.operator, os.environ),
            as_json=getattr(args, "json", False),
            yes=getattr(args, "yes", False),
            accept=args.accept,
            change_number=getattr(args, "change_number", ""),
            emergency=getattr(args, "emergency", ""),
        )
        code = asyncio.run(args.verb(session, args))
        session.flush()
        return int(code)
    except (Failure, *EXPECTED, ValueError) as error:
        found = account(error)
        print("\n".join(found.lines()), file=sys.stderr)
        return USAGE if isinstance(error, ValueError) and not isinstance(error, EXPECTED) else found.code
    finally:
        if session is not None:
            session.close()


def _app(args: argparse.Namespace) -> int:
    """The app over this console's own nodes, or the same line by line, or a recording of one."""
    if args.replay:
        from console.terminal.playback import run_replay

        return run_replay(args.replay, args.speed, args.at)
    if args.plain or (os.environ.get("TERM") == "dumb" and sys.stdin.isatty()):
        from console.seat.plain import run_plain

        return run_plain(args)
    from console.seat.launch import run_app

    return run_app(args)


if __name__ == "__main__":
    sys.exit(main())
