"""`pipeline.toml`: `[[source]]` -> `[[step]]` -> `[model]` -> `[decide]` -> `[[sink]]`, order is file order.

`[[alert]]` holds rules for alerts about the bundle's own figures; nodeagent/health/rules.py has their keys.

Addresses of a plant stand in the node's bindings, and a pipeline names them: `url = "${plc}"`. A binding may be one
value, or a table: then the key that names it takes the entry of the same name, and the other entries of the table
take the place of keys of that section (`plc = { url = "tcp://...", unit_id = 3, order = "CDAB" }`).
So one bundle serves many nodes. An unknown key is an error with its line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from nodeagent.health import default_rules, rules
from nodeagent.health.rules import Rule
from nodeagent.pipeline import references, registry
from nodeagent.pipeline.context import ContextOptions
from nodeagent.pipeline.deploy import DeployOptions
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.lines import Path, locate
from nodeagent.pipeline.models import ThenOptions
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.section import Document, Section
from nodeagent.pipeline.typed import typed
from nodeagent.settings import Settings

SCHEMA: Final = 1
FILE_BYTES_MAX: Final = 256 << 10
SECTIONS_MAX: Final = 64
_TOP_KEYS: Final = (
    "schema",
    "name",
    "asset",
    "source",
    "step",
    "model",
    "then",
    "decide",
    "sink",
    "alert",
    "deploy",
    "context",
)
_SYNTAX_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class ModelOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[model]`. `inputs`: tags that make up the one input, in order, or a table of model input -> tags.

    `state`: input -> the output that is its value at the next sweep; anew after a silence of `state_reset`.
    `constants`: input -> its value. `warm_up`: predictions until a carried state is as good as one that ran all along.

    `package` is the model file that `pipeline try` uses; on a node the model is the one in the bundle.
    """

    inputs: list[str] | dict[str, list[str]]
    package: str = ""
    on_bad_input: Literal["skip", "hold", "run"] = "skip"
    batch_max: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    state: dict[str, str] = msgspec.field(default_factory=dict)
    state_reset: Seconds | None = None
    constants: dict[str, float | list[float]] = msgspec.field(default_factory=dict)
    warm_up: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0

    def __post_init__(self) -> None:
        if not self.inputs and not (self.state or self.constants):
            raise ValueError("'inputs' names no tag: a model that is given nothing says nothing")
        own = set(self.inputs) if isinstance(self.inputs, dict) else set()
        if twice := (own & set(self.state)) | (own & set(self.constants)) | (set(self.state) & set(self.constants)):
            raise ValueError(f"the input {min(twice)!r} is given twice")
        if not self.state and (self.state_reset is not None or self.warm_up):
            raise ValueError("'state_reset' and 'warm_up' belong to a 'state'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """A checked pipeline. `digest` is that of its text; `bindings` are the names it refers to, whether given or not."""

    name: str
    asset: str
    digest: str
    sources: tuple[Section, ...]
    steps: tuple[Section, ...]
    model: Section
    then: tuple[Section, ...] = ()
    decide: Section
    sinks: tuple[Section, ...]
    bindings: tuple[str, ...]
    alerts: tuple[Rule, ...] = ()
    deploy: DeployOptions | None = None
    context: Section | None = None

    @property
    def bound(self) -> bool:
        """Whether every reference has its value, so that the pipeline can run."""
        return all(section.options is not None for section in self.sections())

    def sections(self) -> tuple[Section, ...]:
        """All tables in the order of the data."""
        return (
            *self.sources,
            *((self.context,) if self.context else ()),
            *self.steps,
            self.model,
            *self.then,
            self.decide,
            *self.sinks,
        )


def load(text: str, *, bindings: Mapping[str, Any] | None = None, file: str = "pipeline.toml") -> PipelineConfig:
    """Reads and checks a pipeline. Without `bindings` all that needs none is checked; the result cannot run.

    Raises ConfigError for the first thing that is wrong.
    """
    if len(text.encode()) > FILE_BYTES_MAX:
        raise ConfigError(file, 0, "", f"longer than {FILE_BYTES_MAX} bytes")
    raw = _parse(text, file)
    document = Document(file=file, lines=locate(text))
    _check_top(raw, document)
    reader = _Reader(document, bindings)
    return PipelineConfig(
        name=reader.text(raw, "name"),
        asset=reader.text(raw, "asset"),
        digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
        sources=_unique(reader.many(raw, "source", "type")),
        steps=reader.many(raw, "step", "use"),
        model=reader.section(("model",), raw["model"], "model", "", ModelOptions),
        then=reader.further(raw),
        decide=reader.one(raw, "decide"),
        sinks=reader.many(raw, "sink", "type"),
        bindings=tuple(sorted(references.names(raw))),
        deploy=reader.deploy(raw),
        context=reader.context(raw),
        alerts=rules.read(raw, document, origin="this bundle", defaults=default_rules.defaults(Settings())),
    )


def bindings_needed(config: PipelineConfig) -> tuple[str, ...]:
    """The names that this pipeline expects in a node's bindings."""
    return config.bindings


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _SYNTAX_PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else len(text.splitlines())
        raise ConfigError(file, line, "", _SYNTAX_PLACE.sub("", str(error))) from error


def _check_top(raw: dict[str, Any], document: Document) -> None:
    for key in raw:
        if key not in _TOP_KEYS:
            raise document.error((key,), "unknown key", _TOP_KEYS)
    for key in ("schema", "name", "source", "model", "decide"):
        if key not in raw:
            raise document.error((), f"{key!r} is missing")
    if raw["schema"] != SCHEMA:
        raise document.error(("schema",), f"this program reads schema {SCHEMA}")
    for key in ("source", "step", "then", "sink"):
        entries = raw.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise document.error((key,), f"written [[{key}]]")
        if len(entries) > SECTIONS_MAX:
            raise document.error((key,), f"more than {SECTIONS_MAX} of them")
    for key in ("model", "decide"):
        if not isinstance(raw[key], dict):
            raise document.error((key,), f"written [{key}]")


def _unique(sources: tuple[Section, ...]) -> tuple[Section, ...]:
    seen: set[str] = set()
    for source in sources:
        if source.id in seen:
            raise source.error("id", f"there is a source {source.id!r} already")
        seen.add(source.id)
    return sources


class _Reader:
    """Turns tables into sections: finds the word, replaces the references, types the options."""

    def __init__(self, document: Document, bindings: Mapping[str, Any] | None) -> None:
        self.document = document
        self.bindings = bindings

    def text(self, raw: Mapping[str, Any], key: str) -> str:
        value = raw.get(key, "")
        if not isinstance(value, str):
            raise self.document.error((key,), "is text")
        return str(self._resolved((key,), value)) if self.bindings is not None else value

    def many(self, raw: Mapping[str, Any], kind: str, word: str) -> tuple[Section, ...]:
        return tuple(self._worded((kind, at), table, kind, word) for at, table in enumerate(raw.get(kind, [])))

    def further(self, raw: Mapping[str, Any]) -> tuple[Section, ...]:
        """`[[then]]`, each model once."""
        found: list[Section] = []
        for at, table in enumerate(raw.get("then", [])):
            section = self.section(("then", at), table, "then", "", ThenOptions)
            if table.get("model") in [each.given.get("model") for each in found]:
                raise section.error("model", f"there is a [[then]] for {table['model']!r} already")
            found.append(section)
        return tuple(found)

    def deploy(self, raw: Mapping[str, Any]) -> DeployOptions | None:
        """`[deploy]`, which the supervisor reads by itself: without references."""
        if "deploy" not in raw:
            return None
        if not isinstance(raw["deploy"], dict) or references.names(raw["deploy"]):
            raise self.document.error(("deploy",), "written [deploy], and holds no reference to a binding")
        options = self.section(("deploy",), raw["deploy"], "deploy", "", DeployOptions).options
        assert isinstance(options, DeployOptions)
        return options

    def context(self, raw: Mapping[str, Any]) -> Section | None:
        """`[context]`."""
        if "context" not in raw:
            return None
        if not isinstance(raw["context"], dict):
            raise self.document.error(("context",), "written [context]")
        return self.section(("context",), raw["context"], "context", "", ContextOptions)

    def one(self, raw: Mapping[str, Any], kind: str) -> Section:
        return self._worded((kind,), raw[kind], kind, "use")

    def _worded(self, path: Path, table: Mapping[str, Any], kind: str, word: str) -> Section:
        use = table.get(word)
        if not isinstance(use, str):
            raise self._no_word(path, table, word)
        find = {"source": registry.source, "step": registry.step, "decide": registry.decision, "sink": registry.sink}
        try:
            options, _ = find[kind](use)
        except registry.UnknownWord as error:
            raise self.document.error((*path, word), f"there is no {use!r}", error.allowed) from error
        except registry.NotInstalled as error:
            raise self.document.error((*path, word), f"{use!r} {error}") from error
        return self.section(path, table, use, word, options)

    def _no_word(self, path: Path, table: Mapping[str, Any], word: str) -> ConfigError:
        if word in table:
            return self.document.error((*path, word), "is text")
        return self.document.error(path, f"{word!r} is missing")

    def section(self, path: Path, table: Mapping[str, Any], use: str, word: str, options: type[Options]) -> Section:
        own = {word, "id"} if path[0] == "source" else {word}
        if path[0] == "source" and not isinstance(table.get("id"), str):
            raise self._no_word(path, table, "id")
        rest = {key: value for key, value in table.items() if key not in own}
        needed = frozenset(references.names(rest))
        allowed = sorted(own - {""} | {field.name for field in msgspec.structs.fields(options)})
        bound = references.places(rest)
        if self.bindings is None:
            values = {key: value for key, value in rest.items() if not references.names(value)}
        else:
            values, brought = self._bound(path, rest, options)
            bound |= {(key,) for key in brought}
        for key in rest:
            if key not in allowed:
                raise self.document.error((*path, key), "unknown key", allowed)
        complete = self.bindings is not None or not needed
        made, given = typed(self.document, path, values, options, complete=complete)
        return Section(
            document=self.document,
            path=path,
            use=use,
            id=str(table.get("id", "")),
            options=made,
            given=given,
            references=needed,
            bound=frozenset(bound),
        )

    def _bound(
        self, path: Path, table: Mapping[str, Any], options: type[Options]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """`table` with its references replaced and what binding tables bring along in its place; and that alone."""
        fields = {field.name: field.type for field in msgspec.structs.fields(options)}
        values: dict[str, Any] = {}
        brought: dict[str, Any] = {}
        for key, value in table.items():
            resolved = self._resolved((*path, key), value)
            name = references.whole(value)
            if name and isinstance(resolved, Mapping) and key in fields and not _takes_table(fields[key]):
                if key not in resolved:
                    raise self.document.error((*path, key), f"the binding {name!r} has no {key!r}")
                for entry in resolved:
                    if entry not in fields:
                        raise ConfigError("bindings", 0, f"{name}.{entry}", "unknown key", sorted(fields))
                brought.update(resolved)
                resolved = resolved[key]
            values[key] = resolved
        return values | brought, brought

    def _resolved(self, path: Path, value: Any) -> Any:
        assert self.bindings is not None
        try:
            return references.resolve(value, self.bindings)
        except references.Unbound as error:
            raise self.document.error(path, str(error)) from error


def _takes_table(kind: Any) -> bool:
    info = msgspec.inspect.type_info(kind)
    kinds = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return any(isinstance(each, msgspec.inspect.DictType | msgspec.inspect.StructType) for each in kinds)
