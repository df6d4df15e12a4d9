"""The demo on a machine without mosquitto: it says so, and the casting's pictures come as files."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

from console.demo import processes
from console.demo.devices import Devices
from console.demo.plan import NODES
from console.demo.provision import EXAMPLES
from nodeagent.pipeline import config
from nodeagent.sources.readings import read

WAIT_S = 30.0
CASTING = next(plan for plan in NODES if plan.example == "casting")


def test_without_a_broker_pictures_come_as_files_which_the_nodes_other_pipeline_reads(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    devices = Devices(tmp_path, mosquitto=None)

    async def first_picture(folder: Path) -> Path:
        async with asyncio.timeout(WAIT_S):
            while True:
                if found := sorted(folder.glob("*.png")):
                    return found[0]
                await asyncio.sleep(0.05)

    async def scenario() -> Path:
        try:
            for name in (CASTING.device, "camera-01"):
                await devices.start(name)
            bindings = tomllib.loads(devices.bindings(CASTING))
            return await first_picture(Path(bindings["camera"]))
        finally:
            await processes.stop(devices.processes())

    picture = asyncio.run(scenario())
    (reading,) = read(picture, id="camera")
    assert reading.blob is not None
    assert reading.blob.shape == (64, 64)
    assert devices.protocol(CASTING) == "folder"
    assert devices.note(CASTING) == (
        "mosquitto is not on this machine: cast-01 takes its pictures from a folder. "
        "apt-get install mosquitto, as root, gives it a broker"
    )
    text = (EXAMPLES / "casting" / "pipeline.folder.toml").read_text()
    loaded = config.load(text, bindings=tomllib.loads(devices.bindings(CASTING)))
    assert loaded.sources[0].given["path"] == str(picture.parent)
