"""Labels on the command line."""

from __future__ import annotations

import asyncio

from console.cli import labels as verb
from console.client.wire import AgentError
from console.records.labelstudio import Given
from nodeagent.protocol import Error, LabelRow


class Client:
    """A node with one record, 5, that keeps the labels it is given."""

    def __init__(self) -> None:
        self.rows: list[LabelRow] = []

    async def all_labels(self, bundle: str) -> list[LabelRow]:
        return list(self.rows)

    async def label(self, key: int, bundle: str, label: str, note: str = "") -> None:
        if key != 5:
            raise AgentError(Error(code="RECORD.UNKNOWN", message="gone"), "press-07")
        self.rows.append(LabelRow(id=len(self.rows), key=key, label=label, note=note, actor="alice", wall_us=1))


def test_labels_of_label_studio_are_appended_once_with_who_gave_them() -> None:
    client = Client()
    given = [Given("press-07", "pump", 5, "fault", "3"), Given("press-07", "pump", 6, "fault", "3")]
    assert asyncio.run(verb._append(client, given)) == (1, 1)  # type: ignore[arg-type]
    assert [(row.label, row.note) for row in client.rows] == [("fault", "Label Studio, 3")]
    assert asyncio.run(verb._append(client, given)) == (0, 1)  # type: ignore[arg-type]
