"""The Sparkplug B source behind a real mosquitto; the edge node's payloads were written by Eclipse Tahu's encoder."""

from __future__ import annotations

import asyncio
from typing import Any

import aiomqtt
import numpy as np

from nodeagent.frame import BAD, GOOD, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources.source import SourceContext
from nodeagent.sources.sparkplug import Sparkplug, SparkplugOptions, Tag
from nodeagent.sources.sparkplug_payload import decode

NBIRTH = bytes.fromhex(
    "0880d095ffbc3112120a0562645365711880d095ffbc312004580712210a144e6f646520436f6e74726f6c2f52656269"
    "7274681880d095ffbc31200b700012190a07616d6269656e7410011880d095ffbc312009650000ac411800"
)
DBIRTH = bytes.fromhex(
    "0880d095ffbc31121b0a05706f77657210021880d095ffbc31200a69000000000000f43f12180a05636f756e74100318"
    "80d095ffbc31200350fbffffff0f12160a0772756e6e696e6710041880d095ffbc31200b700112180a05737461746510"
    "051880d095ffbc31200c7a0469646c65121b0a05746f74616c10061880d095ffbc31200858ffffffffffffff0f12180a"
    "05736d616c6c10071880d095ffbc31200150fdffffff0f1801"
)
DDATA = bytes.fromhex("08e8d795ffbc311214100218e8d795ffbc31200a690000000000000440120d100318e8d795ffbc31200338011802")
NDEATH = bytes.fromhex("0888f795ffbc3112120a0562645365711880d095ffbc3120045807")
TAGS = (
    Tag(name="power", metric="power", device="pump"),
    Tag(name="count", metric="count", device="pump"),
    Tag(name="state", metric="state", device="pump"),
    Tag(name="ambient", metric="ambient"),
)


def test_born_on_demand_read_by_alias_and_dead_by_will(broker: Any, context: SourceContext, watch: Any) -> None:
    broker.start()
    options = SparkplugOptions(
        url=f"mqtt://127.0.0.1:{broker.port}", group="plant", edge="e1", tags=TAGS, timeout=Seconds(1.0)
    )

    async def scenario() -> list[Frame]:
        async with aiomqtt.Client("127.0.0.1", broker.port) as node:
            await node.subscribe("spBv1.0/plant/NCMD/e1")
            async with watch(Sparkplug("e1", options, context)) as watched:
                command = await anext(node.messages)
                assert isinstance(command.payload, bytes)
                assert decode(command.payload).metrics[0].name == "Node Control/Rebirth"
                await node.publish("spBv1.0/plant/NBIRTH/e1", NBIRTH)
                await node.publish("spBv1.0/plant/DBIRTH/e1/pump", DBIRTH)
                born = await watched.until(lambda frame: frame.values[1] == -5)
                await node.publish("spBv1.0/plant/DDATA/e1/pump", DDATA)
                told = await watched.until(lambda frame: frame.values[0] == 2.5)
                await node.publish("spBv1.0/plant/NDEATH/e1", NDEATH)
                dead = await watched.until(lambda frame: frame.quality[3] == BAD)
                return [born, told, dead]

    born, told, dead = asyncio.run(scenario())
    assert born.quality.tolist() == [GOOD, GOOD, BAD, GOOD]
    assert born.reasons == {2: "not a number: 'idle'"}
    assert told.quality.tolist() == [GOOD, BAD, BAD, GOOD]
    assert np.isnan(told.values[1])
    assert told.source_us == 1_700_000_001_000_000
    assert (dead.quality == BAD).all()
    assert dead.reasons[0] == "the edge node is away (NDEATH)"
