"""The redaction pass: what goes out of a capsule before it is signed. Pure; counts what it took, by kind.

Bindings come from the node with their secrets as `***` already. This pass is for what stands elsewhere: credentials in
addresses, in log lines and in reasons, private keys, and, where asked, the names of people.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

MASK: Final = "***"
_KEY: Final = re.compile(r"(?i)passw|passphrase|passwd|secret|token|api_?key|private_?key|credential|community")
_USERINFO: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^/\s@]{1,256}@")
_ASSIGNED: Final = re.compile(
    r"(?i)\b((?:pass(?:word|wd|phrase)|secret|token|api[_-]?key|community|authorization)\w{0,20}[\"']?\s{0,3}[=:]\s{0,3}"
    r"[\"']?(?:(?:bearer|basic)\s{1,3})?)(?!\*\*\*)[^\s\"',;&]{1,512}"
)
_PRIVATE: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*", re.DOTALL)
# Whose value names a person; `agent` is none.
_PEOPLE: Final = ("actor", "by", "holder", "owner", "acknowledged_by", "shelved_by", "ended_by", "made_by")
_NOBODY: Final = ("agent", "node", "operator", "outstation", "root")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# What a name has no business in: identifiers that hold a capsule together.
_IDENTIFIERS: Final = frozenset({
    "bundle", "model", "version", "digest", "config", "id", "code", "name", "node", "node_id", "boot_id", "site",
    "line", "machine", "type", "state", "hash", "previous", "member", "source", "action", "deployment",
})  # fmt: skip


class Redaction:
    """One pass over everything that goes into one capsule. `names`: people are to go as well."""

    def __init__(self, *, names: bool = False) -> None:
        self._names = names
        self._people: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self.taken: Counter[str] = Counter()

    def learn(self, documents: Iterable[Any]) -> None:
        """Collects the people of all documents first, so that a name goes wherever it stands."""
        for document in documents:
            self._learn(document)
        if self._people:
            words = "|".join(re.escape(name) for name in sorted(self._people, key=len, reverse=True))
            self._pattern = re.compile(rf"(?<![\w.@-])(?:{words})(?![\w@-])")

    def _learn(self, value: Any, key: str = "") -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                self._learn(inner, str(name))
        elif isinstance(value, list | tuple):
            for inner in value:
                self._learn(inner, key)
        elif isinstance(value, str) and key in _PEOPLE:
            # `alice (claimed, plant)`: both are logins.
            for name in _NAME.findall(value):
                if name not in _NOBODY and name != "claimed":
                    self._people.setdefault(name, f"person-{len(self._people) + 1}")

    def document(self, value: Any, key: str = "") -> Any:
        """`value`, a document of plain JSON, without what is to go."""
        if isinstance(value, dict):
            return {name: self.document(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(inner, key) for inner in value]
        if not isinstance(value, str):
            return value
        if _KEY.search(key) and value and value != MASK:
            self.taken["secret"] += 1
            return MASK
        return self.text(value, key)

    def text(self, told: str, key: str = "") -> str:
        """One text."""
        for kind, pattern, instead in (
            ("private key", _PRIVATE, MASK),
            ("credentials in an address", _USERINFO, rf"\1{MASK}@"),
            ("secret", _ASSIGNED, rf"\1{MASK}"),
        ):
            told, count = pattern.subn(instead, told)
            self.taken[kind] += count
        if self._names and self._pattern is not None and key not in _IDENTIFIERS:
            told, count = self._pattern.subn(lambda found: self._people[found[0]], told)
            self.taken["name"] += count
        return told

    def counted(self) -> dict[str, int]:
        """How often what was taken."""
        return {kind: count for kind, count in sorted(self.taken.items()) if count}
