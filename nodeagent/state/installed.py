"""Which version of a distribution is installed, from the name of its dist-info folder.

importlib.metadata says the same and costs the supervisor 3 MB for the e-mail parser.
The folder's name is fixed by PyPA's "Recording installed projects".
"""

from __future__ import annotations

import sys
from pathlib import Path


def version(distribution: str) -> str | None:
    """The version of the first one found on the import path; None where there is none."""
    escaped = distribution.replace("-", "_")
    for entry in sys.path:
        for folder in sorted(Path(entry).glob(f"{escaped}-*.dist-info")):
            return folder.name.removeprefix(f"{escaped}-").removesuffix(".dist-info")
    return None
