"""What node.toml may say. Standard library only, since the launcher reads it too.

An unknown section or key, or a value of the wrong type, is an error that names the line: a misspelt limit must not
become a default in silence. A missing file is an empty one.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

from nodeagent.state.syslog_target import TargetError, parse_target

FILE_NAME = "node.toml"
FILE_BYTES_MAX = 64 << 10


class SettingsError(ValueError):
    """node.toml cannot be used; the text names the file and the line."""


@dataclasses.dataclass(frozen=True)
class Node:
    """Who this node is to people. `access = "monitor"` refuses every write except hold."""

    name: str = "node"
    site: str = ""
    access: str = "operate"


@dataclasses.dataclass(frozen=True)
class Api:
    """Where the sockets are (empty: STATE/run) and the group that may use them (empty: the owner alone)."""

    run: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Serve:
    """`tcp = "127.0.0.1:8000"` opens /v2, and nothing else, on TCP. Empty: no port is opened."""

    tcp: str = ""


@dataclasses.dataclass(frozen=True)
class Records:
    """How much of the disk the records of one bundle may take, and for how long."""

    bytes_max: int = 1 << 30
    days_max: int = 30


@dataclasses.dataclass(frozen=True)
class Worker:
    """Limits of one worker. `memory_bytes_max` is address space on top of the bundle's declared peak."""

    memory_bytes_max: int = 1 << 30
    nice: int = 0
    hang_s: float = 5.0
    request_deadline_s: float = 10.0


@dataclasses.dataclass(frozen=True)
class Guard:
    """What ends a trial before its deadline. A share is judged once `samples_min` predictions were made."""

    error_share_max: float = 0.05
    reject_share_max: float = 0.05
    latency_ms_p99_max: float = 0.0
    samples_min: int = 50
    worker_exits_max: int = 1


@dataclasses.dataclass(frozen=True)
class Disk:
    """Below `bytes_free_min` deployments are refused and an alert stands. The ballast is freed for a rollback."""

    bytes_free_min: int = 64 << 20
    ballast_bytes: int = 16 << 20


@dataclasses.dataclass(frozen=True)
class Logs:
    """How much of the disk the agent's own log may take."""

    bytes_max: int = 16 << 20


@dataclasses.dataclass(frozen=True)
class Alerts:
    """Limits of the default alerts."""

    temperature_c_max: float = 85.0
    source_silent_s: float = 30.0
    worker_restarts_per_10min_max: int = 3


@dataclasses.dataclass(frozen=True)
class WriteBack:
    """The local switch: `armed = ["sha256:<model>@<binding revision>"]`. Anything not named here is a dry run."""

    armed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a change has to bring along: a number of the plant's own books, a second person's signature.

    `scan_receipt`: what `outstation-agent import` takes needs a receipt by a scan station of STATE/scan_signers.
    """

    change_number: bool = False
    second_person: bool = False
    scan_receipt: bool = False
    scan_days: float = 7.0


@dataclasses.dataclass(frozen=True)
class Syslog:
    """Where every ledger entry goes as RFC 5424: `unix:PATH`, `udp:HOST:PORT`, `tcp:HOST:PORT`, or "" for nowhere."""

    target: str = "unix:/dev/log"


@dataclasses.dataclass(frozen=True)
class OneWay:
    """Behind a data diode: a signed report into `folder` (empty: none) every `every_s`; the newest `keep` stay."""

    folder: str = ""
    every_s: float = 60.0
    keep: int = 120


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything node.toml says, with defaults."""

    node: Node = Node()
    api: Api = Api()
    serve: Serve = Serve()
    records: Records = Records()
    worker: Worker = Worker()
    guard: Guard = Guard()
    disk: Disk = Disk()
    logs: Logs = Logs()
    alerts: Alerts = Alerts()
    write_back: WriteBack = WriteBack()
    policy: Policy = Policy()
    syslog: Syslog = Syslog()
    one_way: OneWay = OneWay()

    def run_dir(self, state: Path) -> Path:
        """The folder of the sockets."""
        return Path(self.api.run) if self.api.run else state / "run"


def load(state: Path) -> Settings:
    """Reads STATE/node.toml. Raises SettingsError; a missing file means the defaults."""
    path = state / FILE_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str = FILE_NAME) -> Settings:
    """Settings from the text of a node.toml. Raises SettingsError with `name` and the line."""
    if len(text) > FILE_BYTES_MAX:
        raise SettingsError(f"{name}: larger than {FILE_BYTES_MAX} bytes")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: {error}") from error
    sections = {field.name: field for field in dataclasses.fields(Settings)}
    values: dict[str, Any] = {}
    for section, table in raw.items():
        if section not in sections or not isinstance(table, dict):
            raise SettingsError(
                f"{name}:{_line(text, section)}: unknown section [{section}]; there are {_list(sections)}"
            )
        values[section] = _section(type(sections[section].default), table, text=text, name=name, section=section)
    settings = Settings(**values)
    try:
        parse_target(settings.syslog.target)
    except TargetError as error:
        raise SettingsError(f"{name}:{_line(text, 'target', 'syslog')}: syslog.target: {error}") from error
    if settings.one_way.folder and not (settings.one_way.every_s >= 1.0 and settings.one_way.keep >= 1):
        raise SettingsError(f"{name}:{_line(text, 'one_way')}: one_way.every_s and one_way.keep are at least 1")
    if settings.node.access not in ("operate", "monitor"):
        raise SettingsError(f"{name}:{_line(text, 'access')}: access is operate or monitor")
    return settings


def _section(kind: type[Any], table: dict[str, Any], *, text: str, name: str, section: str) -> Any:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{name}:{_line(text, key, section)}"
        if key not in hints:
            raise SettingsError(f"{where}: unknown key {key} in [{section}]; there are {_list(hints)}")
        values[key] = _value(hints[key], value, where=f"{where}: {section}.{key}")
    return kind(**values)


def _value(kind: Any, value: object, *, where: str) -> Any:
    if kind is float and type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]  # narrowed by the test above
    if kind in (int, str, bool) and type(value) is kind:
        if kind is int and value < 0:  # type: ignore[operator]  # narrowed by the test above
            raise SettingsError(f"{where} is negative")
        return value
    if isinstance(value, list) and kind == tuple[str, ...] and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise SettingsError(f"{where} has the wrong type")


def _line(text: str, key: str, section: str = "") -> int:
    """The line of a key (after its section's head) or of a section's head; 1 where it cannot be told."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            current = head[1].strip("\"'")
            if not section and current == key:
                return number
        elif re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line) and section in ("", current):
            return number
    return 1


def _list(names: Any) -> str:
    return ", ".join(sorted(names))
