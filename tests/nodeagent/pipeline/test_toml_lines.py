"""Where each key of a TOML text stands."""

from __future__ import annotations

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.pipeline.lines import locate


def test_tables_keys_and_elements_have_their_lines() -> None:
    text = """# a comment with [brackets] and = signs
name = "x"  # trailing
[[source]]
id = "a#b"
tags = [
  { name = "speed", register = "holding:0" },  # first
  { name = 'p"x', nested = { deep = 1 } },
]
[source.tls]
ca = "f"
[[source]]
id = '''
[[step]]
'''
limits.speed = [0,
  1]
[model]
"quoted key" = 1
"""
    tomllib.loads(text)
    found = locate(text)
    assert found[("name",)] == 2
    assert found[("source", 0)] == 3
    assert found[("source", 0, "id")] == 4
    assert found[("source", 0, "tags", 0, "register")] == 6
    assert found[("source", 0, "tags", 1, "nested", "deep")] == 7
    assert found[("source", 0, "tls", "ca")] == 10
    assert found[("source", 1, "id")] == 12
    assert found[("source", 1, "limits", "speed")] == 15
    assert found[("source", 1, "limits", "speed", 1)] == 16
    assert found[("model", "quoted key")] == 18
    assert ("step", 0) not in found


@settings(max_examples=300, deadline=None)
@given(st.text("ab=[]{}\"'#,.\\\n \t1", max_size=40))
def test_the_search_ends_for_every_text(text: str) -> None:
    assert locate(text)[()] >= 1


_text = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)
_key = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)


@st.composite
def _documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str, ...], int]]:
    """Lines of key = value with all that can stand between and inside them, and the truth."""
    lines: list[str] = []
    truth: dict[tuple[str, ...], int] = {}
    for key in draw(st.lists(_key, unique=True, max_size=8)):
        lines += draw(st.lists(_text.map(lambda comment: f"# {comment}"), max_size=2))
        body = draw(_text)
        value = draw(
            st.sampled_from(
                [
                    '"' + body.replace("\\", "\\\\").replace('"', '\\"') + '"',
                    "'" + body.replace("'", "") + "'",
                    '"""\n' + body.replace("\\", "\\\\").replace('"', '\\"') + '\n"""',
                    "'''\n" + body.replace("'", "") + "\n'''",
                    "[1,\n 2, # ]\n 3]",
                    "{ inner = [ 1 ] }",
                    "-1.5e3",
                ]
            )
        )
        truth[(key,)] = "\n".join(lines).count("\n") + 1 + bool(lines)
        lines.append(f"{key} = {value} # end")
    return "\n".join(lines), truth


@settings(max_examples=40, deadline=None)
@given(_documents())
def test_every_key_is_found_on_its_line_whatever_stands_between(
    document: tuple[str, dict[tuple[str, ...], int]],
) -> None:
    text, truth = document
    tomllib.loads(text)
    found = locate(text)
    assert {path: line for path, line in found.items() if len(path) == 1} == truth
