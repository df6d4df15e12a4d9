"""Bundles with something changed in them: none counts unless its content is what was signed.

Three kinds take turns: any bytes of the file; members of the archive cut, doubled, moved, exchanged; and what somebody
does who knows the format: another content, with every digest and size above it made right again. What judges is what a
node uses: the reader of archives, the signature by the allowed signers, the hash of every blob.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import random
import resource
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store import archive, bundle, signing, ustar
from store.bundle import BundleMalformed
from store.signing import SignatureRefused

Content = tuple[bytes, bytes, dict[str, bytes]]
Judge = Callable[[Path, str], Content]


def judge(path: Path, signers: str) -> Content:
    """Manifest, signature and blobs that a node takes from a file. Raises BundleMalformed, SignatureRefused."""
    content = read(path, signers)
    signing.verify(content[0], content[1], signers, at_s=1.8e9)
    return content


def read(path: Path, _signers: str) -> Content:
    """As `judge`, whoever signed it: the bug that the mutations have to find."""
    with archive.read_archive(path) as found:
        if damaged := found.damaged():
            raise BundleMalformed(f"{damaged[0]} is another content")
        blobs = {digest: found.open_blob(digest).read() for digest in found.blobs}
        return found.manifest_bytes, found.signature_bytes or b"", blobs


@dataclasses.dataclass
class Result:
    """What became of them. `taken` had the content that was signed; `wrong` is what must not be."""

    tried: int = 0
    taken: int = 0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    slowest_ms: float = 0.0
    grown_bytes: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)


def run(path: Path, signers: str, folder: Path, count: int, *, seed: int = 5, judge: Judge = judge) -> Result:
    """Judges `count` mutations of the signed bundle `path`."""
    source, original = random.Random(seed), judge(path, signers)
    data, target, result = path.read_bytes(), folder / "mutated.ostn", Result()
    kinds: tuple[Callable[[random.Random, bytes], bytes], ...] = (_bytes, _members, _knowing(original, target))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        kind = kinds[number % len(kinds)]
        target.write_bytes(kind(source, data))
        _try(result, f"{kind.__name__} {number}", lambda: judge(target, signers), original)
    result.grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return result


def _try(result: Result, name: str, judged: Callable[[], Content], original: Content) -> None:
    result.tried += 1
    began_s = time.perf_counter()
    try:
        content = judged()
    except (BundleMalformed, SignatureRefused) as error:
        result.refused[type(error).__name__] += 1
    except Exception as error:  # noqa: BLE001 a reader of hostile files raises nothing else
        result.wrong.append(f"{name}: {error!r}")
    else:
        if content == original:
            result.taken += 1
        else:
            result.wrong.append(f"{name}: taken, and it is not what was signed")
    result.slowest_ms = max(result.slowest_ms, (time.perf_counter() - began_s) * 1e3)


def _bytes(source: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randint(1, 3)):
        at, other = source.randrange(len(changed)), source.randrange(len(data))
        match source.randrange(6):
            case 0:
                changed[at] ^= 1 << source.randrange(8)
            case 1:
                del changed[at // 512 * 512 : at // 512 * 512 + 512]
            case 2:
                changed[at // 512 * 512 : at // 512 * 512 + 512] = data[other // 512 * 512 : other // 512 * 512 + 512]
            case 3:
                changed[at:at] = data[at : at + 512]
            case 4:
                changed[at] = source.choice(b"\0 07/.")
            case _:
                del changed[max(at, 1) :]
    return bytes(changed)


def _members(source: random.Random, data: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar.getmembers()]  # type: ignore[union-attr]
    one, other = source.randrange(len(members)), source.randrange(len(members))
    match source.randrange(5):
        case 0:
            del members[one]
        case 1:
            members.insert(other, members[one])
        case 2:
            members[one], members[other] = members[other], members[one]
        case 3:
            members[one] = (members[one][0], members[other][1])
        case _:
            members[one] = (source.choice(["../x", "/etc/x", "blobs/sha256/x", "index.json"]), members[one][1])
    blocks = [ustar.header(name, len(content)) + content + ustar.padding(len(content)) for name, content in members]
    return b"".join(blocks) + ustar.END


def _knowing(original: Content, target: Path) -> Callable[[random.Random, bytes], bytes]:
    """Another content under the old signature, all digests right."""
    manifest, signature, blobs = original

    def _knowing_mutation(source: random.Random, _data: bytes) -> bytes:
        parsed = bundle.parse_manifest(manifest)
        changed, told = dict(blobs), json.loads(manifest)
        layer = source.randrange(len(parsed.layers))
        old = parsed.layers[layer].digest
        if source.random() < 0.5:
            new = _changed(source, blobs[old])
            digest = bundle.digest_of(new)
            told["layers"][layer] |= {"digest": digest, "size": len(new)}
            changed[digest] = new
        else:
            _change_field(source, told)
        again = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
        if source.random() < 0.3:
            again = manifest
        sign = signature if source.random() < 0.7 else _changed(source, signature)
        try:
            named = bundle.blobs_named(bundle.parse_manifest(again))
            archive.write_archive(target, again, {digest: changed[digest] for digest in named}, sign)
        except (BundleMalformed, KeyError):
            return _bytes(source, _data)
        return target.read_bytes()

    return _knowing_mutation


def _changed(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data))
    return source.choice([data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], data + b"\n", data[at:]])


def _change_field(source: random.Random, told: Any) -> None:
    """Changes one value somewhere in a JSON document."""
    while isinstance(told, dict | list) and told:
        key = source.choice(list(told) if isinstance(told, dict) else range(len(told)))
        if isinstance(told[key], dict | list):
            told = told[key]
        elif isinstance(told[key], str):
            told[key] = told[key] + source.choice(["0", "x", ""]) if source.random() < 0.8 else told[key][:-1]
            return
        else:
            told[key] = source.choice([told[key] + 1 if isinstance(told[key], int) else 1, 2**63, -1, None])
            return
