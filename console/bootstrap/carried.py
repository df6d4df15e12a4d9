"""The small program that works on the node: a part of this very distribution, zipped, with its request in it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("nodeagent/installation", "nodeagent/units")
FILES = ("nodeagent/__init__.py", "store/__init__.py", "store/durable.py", "store/errors.py")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def carried(request: dict[str, Any]) -> bytes:
    """The zip for one request; `python3 -m nodeagent.installation` runs it with the zip on its path."""
    paths = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        paths += sorted(path for path in (ROOT / folder).iterdir() if path.suffix in (".py", ".service"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            entry = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), _EPOCH)
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("request.json", _EPOCH), json.dumps(request))
    return out.getvalue()
