"""The person's own keys and words over the table of commands, from a file: every place that shows a key shows these.

[keys]
deploy = "F5"              # a command's name (docs/keys.md) and its key, as the help writes it; several with commas

[aliases]
graz = "filter site:graz"  # a word in the palette, and what it stands for
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from console.seat import commands
from console.seat.commands import COMMANDS, Command, Screen

FILE_BYTES_MAX: Final = 1 << 16
ALIAS_DEPTH_MAX: Final = 8
# Words of the palette that take a name: `node press-07`, `logs press-07`, `site graz`.
WITH_A_NAME: Final = ("node", "logs", "site", "filter")
KEPT: Final = frozenset({"back", "help", "quit", "palette"})
_NAMES: Final = {
    "/": "slash", "!": "exclamation_mark", "*": "asterisk", "?": "question_mark", "[": "left_square_bracket",
    "]": "right_square_bracket", ":": "colon", "@": "at", "esc": "escape", "+": "plus", "-": "minus", ",": "comma",
    ".": "full_stop", "<": "less_than_sign", ">": "greater_than_sign", "=": "equals_sign", "#": "number_sign",
    "%": "percent_sign", "&": "ampersand", ";": "semicolon", "'": "apostrophe", "$": "dollar_sign",
}  # fmt: skip
_TAKEN: Final = {"ctrl+a": "screen", "ctrl+b": "tmux", "ctrl+s": "the terminal", "ctrl+z": "the shell"}


class KeysRefused(Exception):
    """The file cannot be used. The text says which line of it, and what would do."""


@dataclass(frozen=True, slots=True)
class Keymap:
    """Commands as they are for this person. `own` are those whose keys are not the usual ones."""

    table: tuple[Command, ...] = COMMANDS
    own: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def on(self, screen: Screen) -> tuple[Command, ...]:
        """The commands of a screen."""
        return tuple(command for command in self.table if screen in command.screens)

    def footer(self, screen: Screen) -> tuple[tuple[str, str], ...]:
        """(key, word) of the last row of a screen."""
        listed = sorted((c for c in self.on(screen) if c.footer), key=lambda c: c.footer)
        return tuple((c.shown, c.word) for c in listed)

    def find(self, words: str, screen: Screen) -> list[Command]:
        """What the palette shows for these words."""
        found = {c.name: c for c in self.on(screen)}
        return [found[c.name] for c in commands.find(self.expand(words), screen)]

    def expand(self, words: str) -> str:
        """The words with an alias at their beginning written out."""
        for _ in range(ALIAS_DEPTH_MAX):
            first, _, rest = words.strip().partition(" ")
            if first not in self.aliases:
                return words.strip()
            words = f"{self.aliases[first]} {rest}"
        return words.strip()


def config_file(environ: Mapping[str, str]) -> Path:
    """Where the file is looked for: $XDG_CONFIG_HOME/outstation/console.toml, or below ~/.config."""
    config = environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "outstation" / "console.toml"


def load(path: Path) -> Keymap:
    """The keymap of a file; the usual one where there is none. Raises KeysRefused."""
    if not path.exists():
        return Keymap()
    import tomllib

    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1).decode()
        if len(text) > FILE_BYTES_MAX:
            raise KeysRefused(f"{path}: more than {FILE_BYTES_MAX} bytes")
        return read(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KeysRefused(f"{path}: cannot be read: {error}") from error
    except KeysRefused as error:
        raise KeysRefused(f"{path}: {error}") from error


def read(found: Mapping[str, object]) -> Keymap:
    """The keymap of what such a file holds. Raises KeysRefused."""
    unknown = sorted(set(found) - {"keys", "aliases"})
    if unknown:
        raise KeysRefused(f"[{unknown[0]}] is not known: there are [keys] and [aliases]")
    keys, aliases = _texts(found, "keys"), _texts(found, "aliases")
    names = {command.name for command in COMMANDS}
    for name in keys:
        if name not in names:
            raise KeysRefused(f"keys.{name}: there is no such command; docs/keys.md has their names")
        if name in KEPT:
            raise KeysRefused(f"keys.{name}: this one stays as it is, so that everybody finds the way out")
    table = tuple(_with_keys(c, keys[c.name]) if c.name in keys else c for c in COMMANDS)
    _check_clashes(table)
    for word in aliases:
        if not word or " " in word or word in WITH_A_NAME or any(c.word == word for c in COMMANDS):
            raise KeysRefused(f"aliases.{word}: take one word that is not a command already")
    return Keymap(table, frozenset(keys), aliases)


def _texts(found: Mapping[str, object], part: str) -> dict[str, str]:
    values = found.get(part, {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise KeysRefused(f'[{part}] holds lines such as name = "text"')
    return dict(values)


def _with_keys(command: Command, text: str) -> Command:
    parts = [text] if text in _NAMES else [part.strip() for part in text.split(",")]
    keys = [_key(command.name, part) for part in parts if part]
    return replace(command, keys=",".join(keys), shown=parts[0] if keys else "")


def _key(name: str, text: str) -> str:
    """The name that Textual has for a key: `F5`, `ctrl-e`, `/`."""
    if text in _NAMES:
        return _NAMES[text]
    if len(text) == 1 and text.isascii() and text.isalnum():
        return text
    low = text.casefold().replace("ctrl-", "ctrl+").replace("shift-", "shift+").replace("s-", "shift+")
    if low in _TAKEN:
        raise KeysRefused(f"keys.{name}: {text} never comes here: {_TAKEN[low]} takes it")
    plain = low.removeprefix("ctrl+").removeprefix("shift+")
    is_function = plain[:1] == "f" and plain[1:].isdigit() and 0 < int(plain[1:]) <= 12
    named = ("enter", "space", "tab", "insert", "delete", "backspace")
    if is_function or plain in named or (low.startswith("ctrl+") and len(plain) == 1 and plain.isalpha()):
        return low
    raise KeysRefused(f"keys.{name}: {text!r} is no key: write a letter, a sign, F5 or ctrl-e")


def _check_clashes(table: tuple[Command, ...]) -> None:
    taken: dict[tuple[Screen, str], str] = {}
    for command in table:
        for screen in command.screens:
            for key in filter(None, command.keys.split(",")):
                other = taken.setdefault((screen, key), command.name)
                if other != command.name:
                    raise KeysRefused(
                        f"keys: {key} would mean both {other} and {command.name} on the {screen} screen: "
                        "give the other one a key too"
                    )


def from_environment() -> tuple[Keymap, str]:
    """The person's keymap, or the usual one and why theirs is not used."""
    try:
        return load(config_file(os.environ)), ""
    except KeysRefused as error:
        return Keymap(), str(error)
