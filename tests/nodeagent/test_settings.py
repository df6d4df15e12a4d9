"""node.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent import settings


def test_a_missing_file_means_the_defaults(tmp_path: Path) -> None:
    assert settings.load(tmp_path) == settings.Settings()
    assert settings.load(tmp_path).run_dir(tmp_path) == tmp_path / "run"


def test_each_section_is_read_with_its_types() -> None:
    read = settings.parse(
        '[node]\nname = "press-07"\naccess = "monitor"\n[guard]\nerror_share_max = 1\n'
        '[write_back]\narmed = ["sha256:x@3"]'
    )
    assert (read.node.name, read.node.access) == ("press-07", "monitor")
    assert isinstance(read.guard.error_share_max, float)
    assert read.write_back.armed == ("sha256:x@3",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[node]\nname = "a"\n\n[recrods]\n', "node.toml:4: unknown section [recrods]"),
        ('[node]\nname = "a"\nnmae = "b"\n', "node.toml:3: unknown key nmae in [node]"),
        ("[serve]\ntcp = 8000\n", "node.toml:2: serve.tcp has the wrong type"),
        ("[records]\nbytes_max = true\n", "node.toml:2: records.bytes_max has the wrong type"),
        ("[records]\nbytes_max = -1\n", "node.toml:2: records.bytes_max is negative"),
        ('[node]\naccess = "root"\n', "node.toml:2: access is operate or monitor"),
        ("[node\n", "node.toml: "),
        ("name = 1\n", "unknown section [name]"),
    ],
)
def test_a_mistake_is_an_error_that_names_its_line(text: str, says: str) -> None:
    with pytest.raises(settings.SettingsError) as raised:
        settings.parse(text)
    assert says in str(raised.value)
