"""A node's own values for the names that bundles use: merging, differences, secrets. Pure.

A value is a string, a number, a boolean, a list or a table. Leaves under a secret-looking key are taken out before
anything is stored or shown: a stored revision holds `{"$secret": id}` in their place and the values live in a file of
their own, so that no ledger row, log line, answer or backup of node.db carries them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

NAMES_MAX = 256
BYTES_MAX = 64 << 10
DEPTH_MAX = 6
SHOWN = "***"
SECRET = "$secret"

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")
_URL_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_SECRET_KEY = re.compile(r"(^|_)(password|passphrase|secret|token|api_?key|private_?key)$", re.IGNORECASE)


class BindingError(ValueError):
    """A value or a name that cannot be a binding; the text says which."""


def check(values: Mapping[str, Any]) -> None:
    """Raises BindingError unless `values` is a set of bindings within the limits."""
    if len(values) > NAMES_MAX:
        raise BindingError(f"{len(values)} names, more than {NAMES_MAX}")
    for name, value in values.items():
        if not _NAME.match(name):
            raise BindingError(f"{name!r} cannot be a binding's name")
        _check_value(name, value, depth=0)
    if len(json.dumps(values)) > BYTES_MAX:
        raise BindingError(f"more than {BYTES_MAX} bytes in all")


def merge(old: Mapping[str, Any], changes: Mapping[str, Any], unset: Iterable[str]) -> dict[str, Any]:
    """The whole new set. A secret given back as `***` keeps its old value; a table replaces a table whole.

    Raises BindingError when a name to unset is not there, or `***` stands where there is no secret to keep.
    """
    new = dict(old)
    for name in unset:
        if name not in new:
            raise BindingError(f"{name} is not bound")
        del new[name]
    for name, value in changes.items():
        new[name] = _keep_shown(name, value, old.get(name))
    check(new)
    return new


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs: name -> (old, new), None where there was or will be nothing. Secrets as they are: hide first."""
    return {
        name: (old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name) or (name in old) != (name in new)
    }


def shown_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """As `diff`, for eyes and for the ledger: a secret is `***` on both sides even where it changed."""
    hidden_old, hidden_new = hide(old), hide(new)
    return {name: (hidden_old.get(name), hidden_new.get(name)) for name in diff(old, new)}


def missing(needed: Iterable[str], values: Mapping[str, Any]) -> list[str]:
    """The names that a bundle uses and the node does not have, in order."""
    return sorted(name for name in set(needed) if name not in values)


def hide(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with `***` for each secret."""
    return {name: _walk(name, value, lambda path, secret: SHOWN) for name, value in values.items()}


def take_out(
    values: Mapping[str, Any], new_id: Callable[[], str], known: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Splits values into what may be stored openly and id -> secret. A secret that is `known` keeps its id."""
    ids = {secret: id_ for id_, secret in known.items()}
    secrets: dict[str, str] = {}

    def replace(path: str, secret: Any) -> dict[str, str]:
        text = secret if isinstance(secret, str) else json.dumps(secret)
        if (id_ := ids.get(text)) is None:
            id_ = ids[text] = new_id()
        secrets[id_] = text
        return {SECRET: id_}

    return {name: _walk(name, value, replace) for name, value in values.items()}, secrets


def put_back(stored: Any, secrets: Mapping[str, str]) -> Any:
    """The reverse of `take_out`. Raises BindingError when a secret is gone."""
    if isinstance(stored, dict):
        if set(stored) == {SECRET}:
            try:
                return secrets[stored[SECRET]]
            except KeyError:
                raise BindingError("a secret that the bindings name is gone from the node: bind it again") from None
        return {key: put_back(value, secrets) for key, value in stored.items()}
    if isinstance(stored, list):
        return [put_back(value, secrets) for value in stored]
    return stored


def secret_ids(stored: Any) -> set[str]:
    """The ids of the secrets that a stored revision names."""
    if isinstance(stored, dict):
        if set(stored) == {SECRET}:
            return {str(stored[SECRET])}
        return set().union(*(secret_ids(value) for value in stored.values()))
    if isinstance(stored, list):
        return set().union(*(secret_ids(value) for value in stored))
    return set()


def to_toml(values: Mapping[str, Any]) -> str:
    """The text of a bindings.toml: one line a name, tables inline."""
    return "".join(f"{_toml_key(name)} = {_toml(value)}\n" for name, value in sorted(values.items()))


def _walk(path: str, value: Any, replace: Callable[[str, Any], Any]) -> Any:
    if isinstance(value, dict):
        if set(value) == {SECRET}:
            return replace(path, value)
        return {key: _walk(key, inner, replace) for key, inner in value.items()}
    if isinstance(value, list):
        return [_walk(path, inner, replace) for inner in value]
    return replace(path, value) if _SECRET_KEY.search(path) else value


def _keep_shown(path: str, new: Any, old: Any) -> Any:
    if new == SHOWN and _SECRET_KEY.search(path):
        if old is None or isinstance(old, (dict, list)):
            raise BindingError(f"{path}: {SHOWN} stands for a secret that the node does not have")
        return old
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        return {key: _keep_shown(key, value, before.get(key)) for key, value in new.items()}
    return new


def _check_value(name: str, value: Any, *, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise BindingError(f"{name}: tables deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        if SECRET in value:
            raise BindingError(f"{name}: {SECRET} is a reserved key")
        for key, inner in value.items():
            if not isinstance(key, str) or not key:
                raise BindingError(f"{name}: a key is not text")
            _check_value(f"{name}.{key}", inner, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_value(name, inner, depth=depth + 1)
    elif not isinstance(value, (str, int, float, bool)):
        raise BindingError(f"{name}: {type(value).__name__} cannot be a binding")
    elif isinstance(value, str) and _URL_PASSWORD.search(value):
        raise BindingError(f"{name}: a password inside a URL would be shown; give it a key `password` of its own")
    elif isinstance(value, float) and value != value:
        raise BindingError(f"{name}: not a number")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f")
