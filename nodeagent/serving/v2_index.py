"""What a server says of itself below /v2, for workers and for the node as a whole. Pure; no numpy here."""

from __future__ import annotations

from typing import Any

SERVER: dict[str, Any] = {
    "name": "outstation",
    "version": "2",
    "extensions": ["binary_tensor_data", "statistics", "model_configuration", "model_repository"],
}


def index_row(name: str, version: str, ready: bool, reason: str) -> dict[str, str]:
    """One row of the repository index."""
    return {"name": name, "version": version, "state": "READY" if ready else "UNAVAILABLE", "reason": reason}


def model_of(path: str) -> str:
    """The model that a path is about; empty where it is about the server."""
    if not path.startswith("/v2/models/"):
        return ""
    name = path[len("/v2/models/") :].partition("/")[0]
    return "" if path == "/v2/models/stats" else name
