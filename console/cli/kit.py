"""`outstation kit ...`: build, sign, inspect and verify the file that brings an agent to a node without internet."""

from __future__ import annotations

import argparse
import asyncio
import platform as host
import time
from pathlib import Path

import msgspec

from console import figures
from console.cli.arguments import add_verb, pair
from console.cli.keys import add_key, signer_of
from console.cli.session import Session
from console.failure import OK, Failure
from console.kit.build import SOURCE, Order, build
from console.kit.file import KIT_NAMESPACE, SUFFIX, Kit, open_kit, sign_kit
from console.kit.manifest import PLATFORMS
from console.receipts import admit, keep
from store import signing
from store.errors import from_os

PYTHON_DEFAULT = "3.11"
SIGNERS_NAME = "kit_signers"
KITS = "kits"


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    kits = verbs.add_parser("kit", help="the agent and all it needs, as one file")
    group = kits.add_subparsers(dest="kit_verb", required=True, metavar="VERB")
    built = add_verb(group, "build", build_kit, summary="make a kit of this tree and its locked versions")
    built.add_argument("--platform", action="append", choices=PLATFORMS, help="default: this machine's")
    built.add_argument("--python", action="append", metavar="3.N", help=f"default: {PYTHON_DEFAULT}")
    built.add_argument("--extras", default="modbus,mqtt,image", help="default: %(default)s")
    built.add_argument("--runtime", action="append", default=[], type=pair, metavar="PLATFORM=TAR", help="a Python")
    built.add_argument("--source", type=Path, default=SOURCE, metavar="FOLDER", help="outstation's own tree")
    built.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    add_key(built, required=False)
    signed = add_verb(group, "sign", sign, summary="sign a kit with an SSH key", json=False)
    signed.add_argument("kit", type=Path)
    signed.add_argument("-o", "--out", type=Path, help="another file than the kit itself")
    add_key(signed, required=True)
    inspected = add_verb(group, "inspect", inspect, summary="what a kit holds")
    inspected.add_argument("kit", type=Path)
    inspected.add_argument(
        "--executables", action="store_true", help="every file that runs, by hash, as sha256sum does"
    )
    verified = add_verb(group, "verify", verify, summary="check a kit's signature and every byte")
    verified.add_argument("kit", type=Path)
    add_signers(verified)


def add_signers(parser: argparse.ArgumentParser) -> None:
    """`--signers FILE`, by default the console's own."""
    parser.add_argument("--signers", type=Path, metavar="FILE", help=f"who may sign kits (HOME/{SIGNERS_NAME})")


async def build_kit(session: Session, args: argparse.Namespace) -> int:
    """Builds, and signs where a key is named."""
    order = Order(
        platforms=tuple(dict.fromkeys(args.platform or [f"linux-{host.machine()}"])),
        pythons=tuple(dict.fromkeys(args.python or [PYTHON_DEFAULT])),
        extras=tuple(name for name in args.extras.split(",") if name),
        runtimes=tuple((name, Path(path)) for name, path in args.runtime),
        source=args.source,
    )
    _check(order)
    sign_ = await signer_of(session, args, KIT_NAMESPACE) if args.key or args.ssh_agent else None

    def say(text: str) -> None:
        if not session.as_json:
            session.line(text)
            session.flush()

    await asyncio.to_thread(build, order, args.out, say)
    if sign_ is not None:
        await asyncio.to_thread(sign_kit, args.out, args.out, sign_)
    return await inspect(session, argparse.Namespace(kit=args.out))


def _check(order: Order) -> None:
    for platform in (*order.platforms, *(name for name, _ in order.runtimes)):
        if platform not in PLATFORMS:
            raise Failure(f"no kits are made for {platform}", f"--platform is one of {', '.join(PLATFORMS)}")
    for python in order.pythons:
        if not python.startswith("3.") or not python[2:].isdigit() or int(python[2:]) < 11:
            raise Failure(f"--python {python}: the agent needs 3.11 or newer, written as 3.N")


async def sign(session: Session, args: argparse.Namespace) -> int:
    """Signs the manifest, which names every byte of the kit."""
    sign_ = await signer_of(session, args, KIT_NAMESPACE)
    out = args.out or args.kit
    await asyncio.to_thread(sign_kit, args.kit, out, sign_)
    session.line(f"signed {out}")
    return OK


async def inspect(session: Session, args: argparse.Namespace) -> int:
    """Targets, packages and whether it is signed; nothing is verified."""
    with await asyncio.to_thread(open_kit, args.kit) as kit:
        manifest = kit.manifest
        if args.executables:
            session.document(kit.read(manifest.executables.sha256).decode("utf-8", "replace"))
            return OK
        size = args.kit.stat().st_size
        if session.as_json:
            session.json({"kit": kit.digest, "size": size, "signed": _signature(kit), **msgspec.to_builtins(manifest)})
            return OK
        session.pairs(
            [
                ("kit", f"outstation {manifest.version}, {figures.size(size)}"),
                ("digest", f"sha256:{kit.digest}"),
                ("extras", ", ".join(manifest.extras) or "none"),
                ("signature", _signature(kit)),
            ]
        )
        session.line()
        rows = [
            (t.platform, t.python, f"{t.glibc[0]}.{t.glibc[1]}", str(len(t.wheels)), figures.size(kit.size_of(t)))
            for t in manifest.targets
        ]
        session.table(("PLATFORM", "PYTHON", "GLIBC", "WHEELS", "SIZE"), rows, right=(3, 4))
        for runtime in manifest.runtimes:
            session.line(f"carries Python {runtime.python} for {runtime.platform}: {runtime.file}")
        session.line()
        wheels = [(w.name, w.version, figures.size(w.size), w.sha256) for w in manifest.wheels]
        session.table(("PACKAGE", "VERSION", "SIZE", "SHA-256"), wheels, right=(2,))
    return OK


def _signature(kit: Kit) -> str:
    if kit.signature is None:
        return "NONE: no node is bootstrapped from it"
    try:
        return f"by key {signing.parse(kit.signature).key.fingerprint}, not verified here"
    except signing.SignatureRefused as error:
        return f"UNREADABLE: {error}"


def read_signers(session: Session, path: Path | None) -> str:
    """The text of the allowed signers of kits. Raises Failure where there are none."""
    file = path or session.home.path / SIGNERS_NAME
    try:
        return file.read_text("utf-8")
    except FileNotFoundError as error:
        hint = (
            f'put a line `NAME namespaces="{KIT_NAMESPACE}" ssh-ed25519 AAAA...` there, or name a file with --signers'
        )
        raise Failure(f"nobody may sign kits: there is no {file}", hint) from error
    except OSError as error:
        raise from_os(error, "read", file) from error


def kept_kit(session: Session) -> Path:
    """The one kit that lies with the console. Raises Failure where there is none, or a choice."""
    folder = session.home.path / KITS
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        what = f"{len(found)} kits" if found else "no kit"
        raise Failure(
            f"no --kit was named, and {what} in {folder}",
            "name the file: --kit FILE; `outstation kit build` makes one, `outstation carry unpack` brings one",
        )
    return found[0]


def taken_kit(session: Session, path: Path, signers: Path | None, receipt: Path | None) -> tuple[Kit, signing.Signer]:
    """As `verified_kit`, for what goes to a node: a file from outside comes in as the site's policy asks."""
    seen = admit(session.home, path, given=receipt) if path.parent != session.home.path / KITS else None
    kit, signer = verified_kit(session, path, signers)
    keep(session.home, seen, path, subject=f"sha256:{kit.digest}", taken_by=session.operator)
    return kit, signer


def verified_kit(session: Session, path: Path, signers: Path | None) -> tuple[Kit, signing.Signer]:
    """The kit at `path`, open, with every byte of it checked, and who signed it."""
    text = read_signers(session, signers)
    kit = open_kit(path)
    try:
        return kit, kit.verify(text, at_s=time.time())
    except BaseException:
        kit.close()
        raise


async def verify(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 when the signature does not count or a byte is another one."""
    kit, signer = await asyncio.to_thread(verified_kit, session, args.kit, args.signers)
    with kit:
        if session.as_json:
            session.json(
                {"kit": kit.digest, "principal": signer.principal, "fingerprint": signer.fingerprint, "damaged": []}
            )
            return OK
        session.line(f"signed by {signer.principal}, key {signer.fingerprint}; every file is what was signed")
        for warning in signer.warnings:
            session.line(f"warning: {warning}")
    return OK
