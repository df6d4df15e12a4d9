"""One node being bootstrapped: what is asked of it and sent to it, step by step, each of which may be repeated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Any

from console.bootstrap.carried import carried
from console.bootstrap.facts import NodeFacts, read_facts
from console.bootstrap.shell import Ran, Shell
from console.client.clean import clean
from console.kit.file import Kit
from console.kit.manifest import Part, Runtime

PROBE_S = 60.0
VERB_S = 600.0
COPY_S_MIN = 120.0
COPY_BYTES_PER_S_MIN = 4_000
ATTEMPTS_MAX = 3

# What a command says when the disk is full, in the C locale.
_FULL = ("No space left on device", "Disk quota exceeded")
_RUN = """
d=$(mktemp -d "${TMPDIR:-/tmp}/outstation.XXXXXX") || exit 70
trap 'rm -rf "$d"' EXIT
trap 'exit 1' HUP INT TERM
cat > "$d/setup.zip" || exit 71
PYTHONPATH=$d/setup.zip PYTHONDONTWRITEBYTECODE=1 "$1" -P -s -m nodeagent.installation "$d/setup.zip"
"""
_COPY = """
LC_ALL=C; export LC_ALL; umask 077
has=0; [ -f "$1" ] && has=$(wc -c < "$1")
[ "$2" = 0 ] || [ "$has" -eq "$2" ] || exit 75
if [ "$2" = 0 ]; then cat > "$1"; else cat >> "$1"; fi && wc -c < "$1"
"""
_STAGE = """
(umask 022; mkdir -p "$1/runtimes") && (umask 077; mkdir -p "$1/staging") || exit 1
for f in "$1"/staging/*; do [ -f "$f" ] && echo "$(wc -c < "$f") $f"; done
true
"""
_RUNTIME = """
if command -v sha256sum >/dev/null; then
    echo "$2  $1/staging/$2" | sha256sum -c >/dev/null 2>&1 || { rm -f "$1/staging/$2"; exit 76; }
fi
new=$1/runtimes/.$2.new
rm -rf "$new"; umask 022; mkdir -p "$new" && tar "-x$3f" "$1/staging/$2" -C "$new" && rm -rf "$1/runtimes/$2" &&
    mv "$new" "$1/runtimes/$2" && rm -f "$1/staging/$2"
"""
# What is left of a removal that was ended between its own interpreter and its journal: the rest it had taken back.
_SWEEP = """
[ -d "$1" ] || exit 0
[ ! -d "$1/versions" ] || exit 77
rm -rf "$1/staging" "$1/runtimes" "$1/current" "$1/.current.new" "$1/keeper.lock" "$1/keeper.log" "$1/bootstrap.json"
rmdir "$1" 2>/dev/null
true
"""
_FIND = """
for p in "$1"/runtimes/*/bin/python3.* "$1"/runtimes/*/*/bin/python3.*; do
    [ -x "$p" ] && echo "$p" && exit
done
"""


class BootstrapFailed(Exception):
    """A step did not succeed; the node is as the steps before left it. `hint` says what to do."""

    def __init__(self, node: str, step: str, message: str, hint: str = "") -> None:
        super().__init__(f"{node}: {step}: {message}")
        self.hint = hint


class BootstrapNode:
    """Raises BootstrapFailed where the node refuses, LinkError where it is not reached."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    @property
    def name(self) -> str:
        return self._shell.node

    async def look(self, prefix: str, state: str) -> NodeFacts:
        """What it is; nothing changes. Raises ProbeFailed too."""
        script = files("console.bootstrap").joinpath("probe.sh").read_text("utf-8")
        ran = await self._shell.run(script, prefix, state, timeout_s=PROBE_S)
        return read_facts(ran.output)

    async def ask(self, python: str, step: str, **request: Any) -> dict[str, Any]:
        """One verb of `nodeagent.installation` on the node, answered as a table."""
        ran = await self._shell.run(_RUN, python, data=carried(request), timeout_s=VERB_S)
        try:
            answer = json.loads(ran.output.strip().rpartition("\n")[2])
        except ValueError as error:
            raise self._failed(step, ran) from error
        if not isinstance(answer, dict) or ran.status != 0 or "error" in answer:
            answer = answer if isinstance(answer, dict) else {}
            message = clean(str(answer.get("error", ran.said)), 800)
            raise BootstrapFailed(self.name, step, message, clean(str(answer.get("hint", "")), 300))
        return answer

    async def copy(self, kit: Kit, part: Part, folder: str, has_bytes: int, told: Callable[[int], None]) -> None:
        """Sends the rest of one file of the kit. `told` is given the bytes of each piece."""
        path = f"{folder}/{part.sha256}"
        offset = has_bytes if has_bytes <= part.size else 0
        told(offset)
        if offset == part.size:
            return

        async def rest() -> AsyncIterator[bytes]:
            for piece in kit.pieces(part.sha256, offset):
                yield piece
                told(len(piece))

        timeout_s = max(COPY_S_MIN, (part.size - offset) / COPY_BYTES_PER_S_MIN)
        ran = await self._shell.run(_COPY, path, str(offset), data=rest(), timeout_s=timeout_s)
        if ran.status != 0 or ran.output.strip() != str(part.size):
            raise self._failed(f"copy {part.file}", ran)

    async def stage_by_shell(self, prefix: str) -> dict[str, int]:
        """The folders for copying, where there is no Python yet; returns what was copied before."""
        ran = await self._shell.run(_STAGE, prefix)
        if ran.status != 0:
            raise self._failed("stage", ran)
        found = (line.split() for line in ran.output.splitlines())
        return {words[1].rpartition("/")[2]: int(words[0]) for words in found if len(words) == 2 and "/" in words[1]}

    async def unpack_runtime(self, prefix: str, runtime: Runtime) -> str:
        """The kit's own Python, from the staged tar; returns its interpreter's path."""
        program = f"{prefix}/runtimes/{runtime.sha256}/{runtime.program}"
        there = await self._shell.run('"$1" -I -c ""', program)
        if there.status == 0:
            return program
        ran = await self._shell.run(_RUNTIME, prefix, runtime.sha256, _compression(runtime.file), timeout_s=VERB_S)
        if ran.status != 0:
            raise self._failed("unpack Python", ran)
        tried = await self._shell.run('"$1" -I -c "import ssl, sqlite3, ctypes"', program)
        if tried.status != 0:
            raise self._failed("start the kit's Python", tried)
        return program

    async def clear_staging(self, prefix: str) -> None:
        """Removes what was copied and not yet unpacked."""
        await self._shell.run('rm -rf "$1/staging"', prefix)

    async def python_of(self, prefix: str) -> str:
        """An interpreter that a kit brought to this node earlier; empty where there is none."""
        ran = await self._shell.run(_FIND, prefix)
        return clean(ran.output.strip(), 300)

    async def sweep(self, prefix: str) -> bool:
        """Ends a removal that was cut off after the node's only Python had gone. False: there is more than that."""
        return (await self._shell.run(_SWEEP, prefix)).status == 0

    def _failed(self, step: str, ran: Ran) -> BootstrapFailed:
        hint = "run the same command again: it goes on where it stopped"
        if any(text in ran.said for text in _FULL):
            hint = "the disk is full: free some room, then run the same command again"
        if ran.status == 75:
            hint = "an earlier copy is still being written: wait a little, then run the same command again"
        said = ran.said or clean(ran.output.strip(), 300) or "no word about why"
        return BootstrapFailed(self.name, step, f"{said} (exit status {ran.status})", hint)


def is_full(error: BootstrapFailed) -> bool:
    """Whether a step failed for want of room."""
    return "disk is full" in error.hint


def _compression(file: str) -> str:
    """tar's own letter: busybox does not look for itself."""
    if file.endswith((".gz", ".tgz")):
        return "z"
    return "J" if file.endswith(".xz") else ""
