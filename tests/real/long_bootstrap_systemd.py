"""The agent under a real systemd: bootstrapped as its unit, reaching the plant through the hardening, killed, frozen,
rebooted without a console, and wiped to nothing; as root's unit and as one account's own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiomqtt
import pytest

from console.__main__ import main
from console.kit.build import Order, build
from console.kit.file import KIT_NAMESPACE, sign_kit
from store.archive import sign_archive
from store.signing import sign_with_key_file

ROOT = Path(__file__).parents[2]
WAIT_S = 90.0
UNIT = "outstation-agent.service"
EXPOSURE_MAX = 2.0
SINK = """
[[sink]]
type = "mqtt"
url = "${broker}"
topic = "plant/pump"
"""

# Hundreds of megabytes are copied, unpacked and compiled, on a machine that others use too.
pytestmark = pytest.mark.timeout(400)


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"real_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_machine, _mqtt, _modbus = _module("systemd_machine"), _module("test_mqtt_sink"), _module("test_modbus_source")
broker, server_program, plc = _mqtt.broker, _modbus.server_program, _modbus.plc


class Release:
    """What is brought to a node: a kit with the connectors that a plant needs, and a bundle, each with its signers."""

    def __init__(self, folder: Path) -> None:
        self.key, self.kit, self.bundle = folder / "key", folder / "agent.ostk", folder / "pump.ostn"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        public = " ".join(Path(f"{self.key}.pub").read_text().split()[:2])
        self.signers = folder / "signers"
        self.signers.write_text(f'release namespaces="{KIT_NAMESPACE},outstation-bundle" {public}\n')
        order = Order((f"linux-{platform.machine()}",), (f"3.{sys.version_info.minor}",), ("modbus", "mqtt"))
        build(order, folder / "unsigned.ostk", lambda text: None)
        sign_kit(
            folder / "unsigned.ostk", self.kit, lambda data: sign_with_key_file(self.key, data, namespace=KIT_NAMESPACE)
        )
        pump = shutil.copytree(ROOT / "examples" / "pump", folder / "pump")
        text = (pump / "pipeline.toml").read_text()
        # The PLC of the test stands still: nothing is to be left out for it.
        text = re.sub(r'\[\[step\]\]\nuse = "gate".*?\n\n', "", text, flags=re.DOTALL)
        (pump / "pipeline.toml").write_text(text + SINK)
        assert main(["--home", str(folder / "office"), "bundle", "build", str(pump), "-o", str(folder)]) == 0
        (unsigned,) = folder.glob("pump-*.ostn")
        sign_archive(unsigned, self.bundle, lambda data: sign_with_key_file(self.key, data))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return Release(tmp_path_factory.mktemp("release"))


class Desk:
    """A console that knows the machine, logged in as `user`."""

    def __init__(self, folder: Path, user: str, capsys: pytest.CaptureFixture[str], release: Release) -> None:
        self._home, self._capsys, self._release = folder / "console", capsys, release
        identity = folder / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(identity)], check=True)
        self.machine = _machine.Machine(folder / "m", Path(f"{identity}.pub").read_text().strip())
        where = f"{user}@127.0.0.1:{self.machine.port}"
        self.run("node", "add", "press-07", where, "-i", str(identity), "--unseen", "--ssh-config", "/dev/null")

    def run(self, *words: str) -> str:
        self._capsys.readouterr()
        code = main(["--home", str(self._home), "--operator", "alice", *words])
        told = self._capsys.readouterr()
        assert code == 0, told.out + told.err
        return told.out

    def bootstrap(self) -> str:
        signers = str(self._release.signers)
        words = ["--kit", str(self._release.kit), "--signers", signers, "--allow-signer", signers, "--yes"]
        return self.run("node", "bootstrap", "press-07", *words, "--accept", self.machine.fingerprint())

    def deploy(self, plc: Any, broker: Any) -> None:
        places = (f"plc=tcp://127.0.0.1:{plc.port}", f"broker=mqtt://127.0.0.1:{broker.port}")
        self.run("node", "bind", "press-07", *places, "--yes")
        self.run("deploy", str(self._release.bundle), "press-07", "--yes")
        self.run("confirm", "press-07")


@pytest.fixture
def desk_of(capsys: pytest.CaptureFixture[str], release: Release) -> Iterator[Callable[[str], Desk]]:
    made: list[Desk] = []
    folder = Path(tempfile.mkdtemp(prefix="sd-", dir="/tmp"))
    (folder / "m").mkdir()

    def make(user: str) -> Desk:
        try:
            desk = Desk(folder, user, capsys, release)
            made.append(desk)
            desk.machine.boot()
        except _machine.NotHere as error:
            pytest.fail(f"NOT RUN: a systemd of its own cannot be booted here: {error}")
        return desk

    try:
        yield make
    finally:
        for desk in made:
            desk.machine.close()
        shutil.rmtree(folder)


def heard(broker: Any) -> bytes:
    """The next prediction that the plant's broker gets."""

    async def listen() -> bytes:
        async with asyncio.timeout(WAIT_S), aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.subscribe("plant/pump")
            async for message in client.messages:
                if not message.retain:
                    return bytes(message.payload)
        raise AssertionError

    return asyncio.run(listen())


def until(check: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def shown(machine: Any, *names: str) -> dict[str, str]:
    lines = machine.run("systemctl", "show", UNIT, *(f"--property={name}" for name in names)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def restarts(machine: Any) -> int:
    return int(shown(machine, "NRestarts")["NRestarts"])


def main_pid(machine: Any) -> str:
    return shown(machine, "MainPID")["MainPID"]


def test_a_hardened_unit_reaches_the_plant_survives_a_kill_a_freeze_and_two_boots_and_leaves_nothing(
    desk_of: Callable[[str], Desk], plc: Any, broker: Any
) -> None:
    desk = desk_of("root")
    machine, before = desk.machine, desk.machine.files()
    plc.start("static")
    broker.start()
    desk.bootstrap()
    unit = shown(machine, "ActiveState", "User", "NRestarts", "UnitFileState", "NoNewPrivileges", "WatchdogUSec")
    assert unit == {
        "ActiveState": "active",
        "User": "outstation",
        "NRestarts": "0",
        "UnitFileState": "enabled",
        "NoNewPrivileges": "yes",
        "WatchdogUSec": "30s",
    }
    exposed = machine.run("systemd-analyze", "security", "--no-pager", UNIT).splitlines()[-1]
    assert float(re.findall(r": (\d+\.\d+)", exposed)[0]) <= EXPOSURE_MAX, exposed
    desk.deploy(plc, broker)
    heard(broker)

    machine.run("kill", "-KILL", main_pid(machine))
    until(lambda: restarts(machine) == 1)
    heard(broker)

    hasten = f"mkdir -p /run/systemd/system/{UNIT}.d && cat > /run/systemd/system/{UNIT}.d/soon.conf"
    machine.run("sh", "-c", f"{hasten} <<END\n[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\nEND\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    frozen = main_pid(machine)
    machine.run("kill", "-STOP", frozen)
    until(lambda: restarts(machine) == 1)
    assert main_pid(machine) != frozen
    heard(broker)

    plc.kill()
    plc.start("static")
    for stop in (machine.off, machine.cut):
        stop()
        machine.boot()
        assert shown(machine, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
        heard(broker)
    assert json.loads(desk.run("node", "show", "press-07", "--json"))["status"]

    desk.run("node", "remove", "press-07", "--wipe", "--yes")
    assert sorted(machine.files() - before) == []
    assert machine.run("systemctl", "is-active", UNIT, check=False).strip() == "inactive"
    assert "outstation" not in machine.run("ps", "-eo", "args")


@pytest.mark.parametrize("may_linger", [False, True])
def test_an_account_of_its_own_keeps_it_up_once_it_may_linger_and_gets_it_off_again(
    desk_of: Callable[[str], Desk], plc: Any, broker: Any, may_linger: bool
) -> None:
    if may_linger and not Path("/usr/lib/systemd/system/polkit.service").exists():
        pytest.fail("NOT RUN: polkit, which lets an account linger by itself, is missing; as root: apt install polkitd")
    desk = desk_of("amy")
    machine, before = desk.machine, desk.machine.files()
    plc.start("static")
    broker.start()
    if not may_linger:
        machine.run("systemctl", "mask", "--runtime", "polkit.service")
    said = desk.bootstrap()
    advice = "as root on the node: loginctl enable-linger amy"
    assert (advice in said) is not may_linger
    if not may_linger:
        machine.run(*advice.partition(": ")[2].split())
    desk.deploy(plc, broker)
    heard(broker)
    of_amy = ("--user", "--machine", "amy@")
    pid = machine.run("systemctl", *of_amy, "show", "--property=MainPID", "--value", UNIT).strip()
    machine.run("kill", "-KILL", pid)
    until(lambda: machine.run("systemctl", *of_amy, "show", "--property=NRestarts", "--value", UNIT).strip() == "1")
    heard(broker)

    plc.kill()
    plc.start("static")
    for stop in (machine.off, machine.cut):
        stop()
        machine.boot()
        heard(broker)
    desk.run("node", "remove", "press-07", "--wipe", "--yes")
    assert sorted(machine.files() - before) == []
    assert "outstation" not in machine.run("ps", "-eo", "args")
