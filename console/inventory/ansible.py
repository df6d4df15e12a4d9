"""Ansible inventories, INI or YAML: hosts, groups, their variables, as far as they say how a host is reached.

Precedence as Ansible's own: a group's variables, the child group's over its parent's, the host's over all.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from console.inventory.entry import NODES_MAX, PLACES, REDUNDANCY, Entry, InventoryRefused, entry_of
from console.inventory.tree import line_of, read_tree

# Variables that mean something here, by our name; the first that is there counts.
_VARIABLES = {
    "host": ("ansible_host", "ansible_ssh_host"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "identity": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
    **{place: (f"outstation_{place}", place) for place in PLACES},
}
_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_GROUP_LABEL = "group"
_NO_LABEL = ("all", "ungrouped")
_RANGE = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")
_YAML = re.compile(r"^\s*(?:all|hosts|children)\s*:\s*(?:#.*)?$", re.MULTILINE)
_PORT = re.compile(r"(?P<host>[^:]+):(?P<port>[0-9]{1,5})")
_SECTION = re.compile(r"^\[([^\]:\s]+)(?::(vars|children))?\]\s*(?:[#;].*)?$")


@dataclass(slots=True)
class _Group:
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)


def read_ansible(text: str, *, where: str) -> list[Entry]:
    """The hosts of an inventory, by name. Raises InventoryRefused with the line."""
    text = text.removeprefix("\ufeff")
    is_ini = any(_SECTION.match(line) for line in text.splitlines()) or not _YAML.search(text)
    groups = _read_ini(text, where) if is_ini else _read_yaml(read_tree(text, where=where), where)
    return _entries(groups, where)


def _read_ini(text: str, where: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {"all": _Group(), "ungrouped": _Group()}
    name, part = "ungrouped", ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if match := _SECTION.match(line):
            name, part = match[1], match[2] or ""
            groups.setdefault(name, _Group())
        elif part == "vars":
            key, _, value = line.partition("=")
            groups[name].variables[key.strip()] = value.strip().strip("\"'")
        elif part == "children":
            groups[name].children.append(line.split()[0])
            groups.setdefault(line.split()[0], _Group())
        else:
            _ini_host(groups[name], line, f"{where}:{number}")
    return groups


def _ini_host(group: _Group, line: str, where: str) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise InventoryRefused(f"{where}: {error}") from error
    pairs = [word.partition("=") for word in words[1:]]
    if bad := next((key for key, equals, _ in pairs if not equals), ""):
        raise InventoryRefused(f"{where}: {bad!r} is not name=value")
    values = {key: value for key, _, value in pairs}
    pattern = words[0]
    if (ported := _PORT.fullmatch(_RANGE.sub("x", pattern))) is not None:
        pattern = pattern[: -len(ported["port"]) - 1]
        values.setdefault("ansible_port", ported["port"])
    for host in _expanded(pattern, where):
        group.hosts.setdefault(host, {}).update(values)
        group.lines.setdefault(host, where)


def _expanded(pattern: str, where: str) -> list[str]:
    """As `_expand`, bounded: two ranges in one name are quickly more than anybody has."""
    names = list(itertools.islice(_expand(pattern, where), NODES_MAX + 1))
    if len(names) > NODES_MAX:
        raise InventoryRefused(f"{where}: {pattern} is more than {NODES_MAX} hosts")
    return names


def _expand(pattern: str, where: str) -> Iterator[str]:
    """`press-[01:10]` as ten names, as Ansible writes ranges."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    first, last, step = match[1], match[2], int(match[3] or 1)
    if first.isdigit() and last.isdigit() and step:
        middle = [str(n).zfill(len(first)) for n in range(int(first), min(int(last), int(first) + NODES_MAX) + 1, step)]
    elif len(first) == len(last) == 1 and first.isalpha() and last.isalpha() and step:
        middle = [chr(code) for code in range(ord(first), ord(last) + 1, step)]
    else:
        raise InventoryRefused(f"{where}: {match[0]} is no range")
    for each in middle:
        yield from _expand(pattern[: match.start()] + each + pattern[match.end() :], where)


def _read_yaml(tree: Mapping[str, Any], where: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}

    def take(name: str, content: Any) -> None:
        group = groups.setdefault(name, _Group())
        for key, value in _map(content, name).items():
            if key == "hosts":
                for pattern, variables in _map(value, name).items():
                    place = f"{where}:{line_of(value, pattern)}"
                    for host in _expanded(pattern, place):
                        group.lines.setdefault(host, place)
                        group.hosts.setdefault(host, {}).update(_texts(_map(variables, host)))
            elif key == "vars":
                group.variables.update(_texts(_map(value, name)))
            elif key == "children":
                for child, inner in _map(value, name).items():
                    group.children.append(child)
                    take(child, inner)
            else:
                place = f"{where}:{line_of(content, key)}"
                raise InventoryRefused(f"{place}: {key!r} of the group {name} is not hosts, vars or children")

    def _map(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise InventoryRefused(f"{where}: {name}: {value!r} stands where names are expected")
        return value

    for name, content in tree.items():
        take(name, content)
    return groups


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Plain values; a variable that is a map says nothing about how a host is reached."""
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _entries(groups: dict[str, _Group], where: str) -> list[Entry]:
    found: dict[str, dict[str, str]] = {}
    walked: set[str] = set()
    member: dict[str, list[str]] = {}
    lines: dict[str, str] = {}

    def walk(name: str, inherited: dict[str, str], chain: tuple[str, ...]) -> None:
        if name in chain:
            raise InventoryRefused(f"{where}: the group {name} is a child of itself")
        walked.add(name)
        group = groups[name]
        variables = {**inherited, **group.variables}
        for host, own in group.hosts.items():
            found[host] = {**found.get(host, {}), **variables, **own}
            lines.setdefault(host, group.lines.get(host, where))
            member.setdefault(host, []).extend(g for g in (*chain, name) if g not in (*_NO_LABEL, *member[host]))
        for child in group.children:
            if child not in groups:
                raise InventoryRefused(f"{where}: the group {child} is not there")
            walk(child, variables, (*chain, name))

    children = {child for group in groups.values() for child in group.children}
    shared = groups.get("all", _Group()).variables
    for name in groups:
        if name not in children:
            walk(name, {} if name == "all" else shared, ())
    if circling := groups.keys() - walked:
        raise InventoryRefused(f"{where}: the group {min(circling)} is a child of itself")
    return [_entry(host, found[host], member[host], lines[host]) for host in sorted(found)]


def _entry(host: str, variables: dict[str, str], groups: list[str], where: str) -> Entry:
    values = {ours: next((variables[v] for v in names if v in variables), "") for ours, names in _VARIABLES.items()}
    labels = [f"{_GROUP_LABEL}={groups[-1]}"] if groups else []
    if redundancy := variables.get("redundancy_group") or variables.get("outstation_redundancy"):
        labels.append(f"{REDUNDANCY}={redundancy}")
    jumps, notes = _jumps(variables)
    if "{{" in "".join(values.values()):
        raise InventoryRefused(f"{where}: {host}: templates are not filled in: {values}")
    secrets = {key: "" for key in variables if key.startswith("ansible_") and key.endswith(("pass", "password"))}
    return entry_of(host, {**values, "labels": " ".join(labels), "jumps": jumps, **secrets}, where=where, notes=notes)


def _jumps(variables: dict[str, str]) -> tuple[str, list[str]]:
    """ProxyJump and -J of the SSH arguments; anything else of them is named, not obeyed."""
    text = " ".join(variables.get(name, "") for name in _ARGUMENTS).strip()
    jump = re.search(r"(?:-J\s*|-o\s*[\"']?ProxyJump[= ])([^\s\"']+)", text)
    rest = text.replace(jump[0], "").strip(" \"'") if jump else text
    return (jump[1] if jump else "", [f"SSH arguments are not taken: {rest[:100]}"] if rest else [])
