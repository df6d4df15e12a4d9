"""One OpenLineage event for an export: which streams of which nodes went into which file. Plain JSON, no client.

The form is RunEvent of the OpenLineage specification 2-0-2; what it has no word for is a facet of our own.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACET: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/BaseFacet"
PRODUCER: Final = "urn:outstation:export"


def event(facts: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The event of the data set that `facts` (dataset.json) describe. The same facts give the same event."""
    query, (file, *_) = facts["query"], facts["files"]
    run = uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}:{file['sha256']}:{facts['made']}")
    inputs = [
        {
            "namespace": f"outstation://{node}",
            "name": query["bundle"],
            "inputFacets": {"inputStatistics": _facet(rowCount=rows)},
        }
        for node, rows in facts["rows"].items()
    ]
    made = _facet(models=facts["models"], pipelines=facts["pipelines"], labels=facts["labels"], sha256=file["sha256"])
    output = {
        "namespace": "file",
        "name": f"{folder}/{file['name']}",
        "facets": {"outstation_dataset": made},
        "outputFacets": {"outputStatistics": _facet(rowCount=sum(facts["rows"].values()), size=file["bytes"])},
    }
    return {
        "eventType": "COMPLETE",
        "eventTime": facts["made"],
        "producer": PRODUCER,
        "schemaURL": SPEC,
        "run": {"runId": str(run), "facets": {"outstation_query": _facet(query=query, by=facts["by"])}},
        "job": {"namespace": "outstation", "name": f"export.{query['bundle']}"},
        "inputs": inputs,
        "outputs": [output],
    }


def _facet(**content: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": FACET, **content}
