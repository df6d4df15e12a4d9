"""The deploy flow: the order of its steps, resumption at the byte, lost answers, refusals, and the lease."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery import upload as uploading
from console.delivery.deploy import DeployFailed, Progress, check_passport, confirm, deploy, rollback, surely
from console.delivery.gate import GateOrder
from console.delivery.lease import RENEW_AFTER_S, held_lease
from console.delivery.mandate import Mandate
from console.delivery.upload import Meter, next_piece_bytes
from console.fleet.view import LinkState
from console.link.errors import LinkError
from console.link.transport import Answer
from console.rollout.nodes import LiveNodes
from console.rollout.policy import Policy, Recorder
from nodeagent.protocol import (
    CHUNK_BYTES_MAX,
    ERRORS,
    BlobState,
    Deployment,
    DeploymentRequest,
    DeploymentState,
    Error,
    ErrorBody,
    Lease,
    LeaseRequest,
    Passport,
    PassportItem,
    StageRequest,
)
from store import bundle
from store.archive import Archive, read_archive, write_archive
from store.bundle import Facts

MODEL = bytes(range(256)) * 4_096
PIPELINE = b'name = "press"\n'
LOST = LinkError(LinkState.DOWN, "press-07", "the connection broke")


class Refuse(Exception):
    def __init__(self, code: str) -> None:
        self.code = code


class Node:
    """A node's deployments in memory, answered over an Exchange that can lose requests or answers."""

    def __init__(self, tiny: Any) -> None:
        self.tiny = tiny
        self.log: list[str] = []
        self.blobs: dict[str, bytearray] = {}
        self.deployments: dict[str, Deployment] = {}
        self.lease = 0
        self.holder = ""
        self.gate: dict[str, Any] | None = None
        self.fits = True
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.logins = 0
        self.mandate: Mandate | None = None
        self.lose_before: list[str] = []
        self.lose_after: list[str] = []
        self.refuse: dict[str, str] = {}

    async def request(self, method: str, target: str, *, body: Any = None, timeout_s: float) -> Answer:
        path, _, query = target.removeprefix("/agent/v1").partition("?")
        verb = f"{method} {path.split('/')[1]}" + (f"/{path.rsplit('/', 1)[1]}" if method == "POST" else "")
        if method == "POST":
            self.written.append((verb, msgspec.json.decode(body)))
        if verb in self.lose_before:
            self.lose_before.remove(verb)
            raise LOST
        try:
            answer: Any = self._answer(method, path, dict(p.split("=") for p in query.split("&") if p), body or b"")
        except Refuse as refused:
            error = Error(code=refused.code, message=f"no: {refused.code}", hint="do this")
            return Answer(ERRORS[refused.code][0], msgspec.json.encode(ErrorBody(error)))
        if verb in self.lose_after:
            self.lose_after.remove(verb)
            raise LOST
        return Answer(200, msgspec.json.encode(answer))

    def stream(self, *args: Any, **named: Any) -> Any:
        raise AssertionError("no stream here")

    def _answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        parts = path.strip("/").split("/")
        if path == "/status":
            return self.tiny.status()
        self.log.append(f"{method} {parts[0]}" + (f" {parts[2]}" if len(parts) > 2 else ""))
        if parts[0] == "passport":
            verdict = "yes" if self.fits else "no"
            item = PassportItem(name="memory", verdict=verdict, text="needs 2 GB, has 1 GB", fix="a smaller model")
            return Passport(fits=self.fits, items=[item])
        if parts[0] == "lease":
            return self._lease(msgspec.json.decode(body, type=LeaseRequest))
        if parts[0] == "blobs":
            return self._blob(method, parts[1], query, body)
        if path == "/deployments":
            return self._stage(msgspec.json.decode(body, type=StageRequest))
        if method == "GET":
            return self.deployments[parts[1]]
        if parts[2] == "gate":
            if self.gate is None:
                raise Refuse("REQUEST.UNKNOWN_PATH")
            return msgspec.structs.replace(self.deployments[parts[1]], preflight={"gate": self.gate})
        return self._advance(parts[1], parts[2], msgspec.json.decode(body, type=DeploymentRequest))

    def _lease(self, request: LeaseRequest) -> Lease:
        if self.holder not in ("", request.holder) and not request.break_held:
            raise Refuse("LEASE.HELD")
        self.lease += request.token is None
        self.holder = "" if request.release else request.holder
        return Lease(holder=request.holder, token=self.lease, seconds_left=60)

    def _blob(self, method: str, digest: str, query: dict[str, str], body: bytes) -> BlobState:
        held = self.blobs.setdefault(digest, bytearray())
        if method == "PUT":
            if int(query["offset"]) != len(held):
                raise Refuse("BLOB.OFFSET")
            held += body
        complete = f"sha256:{hashlib.sha256(held).hexdigest()}" == digest
        return BlobState(digest=digest, received_bytes=len(held), complete=complete)

    def _stage(self, request: StageRequest) -> Deployment:
        assert request.lease == self.lease
        missing = [d for d in (request.manifest, request.signature) if not self._blob("GET", d, {}, b"").complete]
        if not missing:
            manifest = bundle.parse_manifest(bytes(self.blobs[request.manifest]))
            missing = [d for d in bundle.blobs_named(manifest) if not self._blob("GET", d, {}, b"").complete]
        self.deployments[request.id] = Deployment(
            id=request.id,
            bundle="bearing",
            version="2.1",
            digest=request.manifest,
            state=DeploymentState.RECEIVING if missing else DeploymentState.STAGED,
            missing=missing,
            window_s=request.window_s,
        )
        return self.deployments[request.id]

    def _advance(self, id_: str, verb: str, request: DeploymentRequest) -> Deployment:
        if verb in self.refuse:
            raise Refuse(self.refuse[verb])
        assert request.lease == self.lease
        assert request.node_id == "node-1"
        state = {
            "preflight": DeploymentState.PREFLIGHT_OK,
            "activate": DeploymentState.TRIAL,
            "confirm": DeploymentState.COMMITTED,
            "rollback": DeploymentState.ROLLED_BACK,
        }[verb]
        self.deployments[id_] = msgspec.structs.replace(self.deployments[id_], state=state)
        return self.deployments[id_]

    # -- Reach

    def client(self, name: str) -> AgentClient:
        return AgentClient(self, name, mandate=self.mandate)

    @asynccontextmanager
    async def _borrowed(self, name: str) -> AsyncIterator[AgentClient]:
        self.logins += 1
        yield AgentClient(self, name, mandate=self.mandate)

    bulk_client = fresh_client = _borrowed


@pytest.fixture
def node(tiny_agent: Any, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr("console.delivery.upload.PAUSE_S", 0.0)
    monkeypatch.setattr("console.delivery.deploy.PAUSE_S", 0.0)
    return Node(tiny_agent())


@pytest.fixture
def open_archive(tmp_path: Path) -> Callable[..., Archive]:
    def make(*, signed: bool = True) -> Archive:
        facts = Facts(
            name="bearing", version="2.1", epoch=1, sequence=7, model="bearing",
            model_digest=bundle.digest_of(MODEL), model_bytes=len(MODEL), ir_version=9, opsets={"": 19},
            operators=["Add"], inputs=[], outputs=[], peak_memory_bytes=1, golden_digest=bundle.digest_of(b"golden"),
            pipeline_digest=bundle.digest_of(PIPELINE),
        )  # fmt: skip
        files: dict[Any, bytes] = {"facts": bundle.canonical(facts), "model": MODEL, "golden": b"golden"}
        files["pipeline"] = PIPELINE
        manifest = bundle.canonical(bundle.make_manifest(facts, b"{}", files))
        contents = {bundle.digest_of(data): data for data in (b"{}", *files.values())}
        path = tmp_path / "bearing-2.1.ostn"
        write_archive(path, manifest, contents, b"-----BEGIN SSH SIGNATURE-----\n" if signed else None)
        return read_archive(path)

    return make


def run_deploy(node: Node, archive: Archive, seen: list[Progress] | None = None, **extra: Any) -> Deployment:
    progress = (lambda p: seen.append(p)) if seen is not None else (lambda p: None)
    with archive:
        return asyncio.run(
            deploy(node, "press-07", archive, window_s=600, operator="alice", on_progress=progress, **extra)
        )


def test_a_deployment_runs_its_steps_in_order_up_to_the_trial(node: Node, open_archive: Any) -> None:
    seen: list[Progress] = []
    found = run_deploy(node, open_archive(), seen)
    assert found.state is DeploymentState.TRIAL
    steps = list(dict.fromkeys(progress.step for progress in seen))
    assert steps == ["passport", "lease", "stage", "upload", "preflight", "activate", "trial"]
    assert node.log[0] == "POST passport"
    assert node.log[-1] == "POST lease"
    assert node.holder == ""
    assert bytes(node.blobs[bundle.digest_of(MODEL)]) == MODEL


def test_progress_ends_at_the_total_and_never_goes_back(node: Node, open_archive: Any) -> None:
    seen: list[Progress] = []
    run_deploy(node, open_archive(), seen)
    done = [progress.done_bytes for progress in seen if progress.step == "upload"]
    assert done == sorted(done)
    assert seen[-2].step == "activate"
    assert done[-1] == max(progress.total_bytes for progress in seen) > len(MODEL)
    assert node.logins == 1


def test_a_bundle_that_does_not_fit_moves_no_byte_and_says_what_to_change(node: Node, open_archive: Any) -> None:
    node.fits = False
    with pytest.raises(DeployFailed, match="needs 2 GB, has 1 GB") as caught:
        run_deploy(node, open_archive())
    assert caught.value.hint == "a smaller model"
    assert node.log == ["POST passport"]


def test_a_passport_is_asked_with_the_pipelines_text_for_the_places_that_it_writes(
    node: Node, open_archive: Any
) -> None:
    with open_archive() as archive:
        asyncio.run(check_passport(node.client("press-07"), archive))
    assert node.written[-1][1]["facts"]["pipeline"] == PIPELINE.decode()


def test_the_passport_of_an_unsigned_bundle_says_so_with_what_to_do(node: Node, open_archive: Any) -> None:
    for signed in (True, False):
        with open_archive(signed=signed) as archive:
            found = asyncio.run(check_passport(node.client("press-07"), archive))
        lines = [item for item in found.items if item.name == "signature"]
        assert found.fits
        assert [(item.verdict, item.fix) for item in lines] == (
            [] if signed else [("warn", "sign it with `outstation bundle sign`")]
        )


@pytest.mark.parametrize(("planned", "sent"), [("CHG-4711", "CHG-4711"), ("", "OWN-1")])
def test_every_write_of_a_rollout_carries_the_number_that_its_plan_was_made_under(
    node: Node, open_archive: Any, planned: str, sent: str
) -> None:
    async def run() -> None:
        nodes = LiveNodes(node, archive, operator="ada", policy=Policy(recorder=Recorder(rows=0)), change=planned)
        await nodes.stage("press-07", "r-1", 60.0)
        await nodes.activate("press-07", "r-1")
        await nodes.confirm("press-07", "r-1")

    node.mandate = Mandate(change_number="OWN-1")
    with open_archive() as archive:
        asyncio.run(run())
    verbs = [verb for verb, _ in node.written]
    assert {"POST deployments/deployments", "POST deployments/activate", "POST deployments/confirm"} <= set(verbs)
    numbers = {verb: body.get("change_number", "") for verb, body in node.written if "deployments" in verb}
    assert set(numbers.values()) == {sent}, numbers
    assert node.logins == 2, "the bytes and the confirm, each over a login of its own"


def test_an_unsigned_bundle_is_not_even_offered(node: Node, open_archive: Any) -> None:
    with pytest.raises(DeployFailed, match="not signed"):
        run_deploy(node, open_archive(signed=False))
    assert node.log == []


def test_an_upload_goes_on_at_the_byte_where_the_last_one_ended(node: Node, open_archive: Any) -> None:
    digest = bundle.digest_of(MODEL)
    node.blobs[digest] = bytearray(MODEL[:700_000])
    seen: list[Progress] = []
    run_deploy(node, open_archive(), seen)
    assert bytes(node.blobs[digest]) == MODEL
    assert next(p for p in seen if p.done_bytes > 700_000)


def test_a_blob_that_the_node_has_is_not_sent_again(node: Node, open_archive: Any) -> None:
    run_deploy(node, open_archive())
    node.log.clear()
    run_deploy(node, open_archive(), deployment="second")
    assert "PUT blobs" not in node.log


@pytest.mark.parametrize("where", ["lose_before", "lose_after"])
def test_a_piece_that_is_lost_or_whose_answer_is_lost_is_asked_about_and_goes_on(
    node: Node, open_archive: Any, where: str
) -> None:
    getattr(node, where).extend(["PUT blobs"] * 3)
    run_deploy(node, open_archive())
    assert bytes(node.blobs[bundle.digest_of(MODEL)]) == MODEL


def test_an_upload_that_never_goes_on_ends_with_the_loss(node: Node, open_archive: Any) -> None:
    node.lose_before.extend(["PUT blobs"] * 50)
    with pytest.raises(LinkError, match="the connection broke"):
        run_deploy(node, open_archive())
    assert node.lose_before.count("PUT blobs") == 50 - uploading.FAILURES_MAX - 1
    assert node.holder == ""


@pytest.mark.parametrize("where", ["lose_before", "lose_after"])
@pytest.mark.parametrize("verb", ["preflight", "activate"])
def test_a_lost_transition_is_asked_about_before_it_is_repeated(
    node: Node, open_archive: Any, where: str, verb: str
) -> None:
    getattr(node, where).append(f"POST deployments/{verb}")
    assert run_deploy(node, open_archive()).state is DeploymentState.TRIAL
    assert node.log.count(f"POST deployments {verb}") == 1
    assert "GET deployments" in node.log


def test_a_refusal_ends_the_deployment_with_the_nodes_own_reason(node: Node, open_archive: Any) -> None:
    node.refuse["preflight"] = "DEPLOYMENT.DISK_FULL"
    with pytest.raises(AgentError, match=r"DEPLOYMENT\.DISK_FULL"):
        run_deploy(node, open_archive())
    assert node.holder == ""


def test_a_switch_waits_for_the_machine_and_goes_on_once_it_is_there(node: Node, open_archive: Any) -> None:
    seen: list[Progress] = []
    node.refuse["activate"] = "DEPLOYMENT.MACHINE_STATE"

    def told(progress: Progress) -> None:
        seen.append(progress)
        if [step.step for step in seen].count("waits for the machine") == 3:
            node.refuse.clear()

    with open_archive() as archive:
        found = asyncio.run(
            deploy(node, "press-07", archive, window_s=60, operator="alice", on_progress=told, deployment="d1")
        )
    assert found.state is DeploymentState.TRIAL
    assert [step.step for step in seen].count("waits for the machine") == 3


def test_a_lease_of_another_console_stops_before_anything_is_staged(node: Node, open_archive: Any) -> None:
    node.holder = "bob"
    with pytest.raises(AgentError, match=r"LEASE\.HELD"):
        run_deploy(node, open_archive())
    assert node.deployments == {}
    assert node.holder == "bob"


def test_i11_a_lease_is_broken_only_where_that_was_asked_for(node: Node, open_archive: Any) -> None:
    node.holder = "bob"
    with open_archive() as archive:
        done = deploy(
            node,
            "press-07",
            archive,
            window_s=60,
            operator="alice",
            on_progress=lambda progress: None,
            break_lease=True,
        )
        assert asyncio.run(done).state is DeploymentState.TRIAL
    assert node.holder == ""


FAILED = {"verdict": "failed", "reasons": ["agrees on 40.0% of the decisions"], "rows": 100, "agreement": 0.4}


def test_a_candidate_that_fails_its_gate_is_not_switched_to(node: Node, open_archive: Any) -> None:
    node.gate, seen = FAILED, []
    with pytest.raises(DeployFailed, match=r"gate: agrees on 40\.0%") as caught:
        run_deploy(node, open_archive(), seen, gate=GateOrder())
    assert "--past-gate" in caught.value.hint
    assert "POST deployments activate" not in node.log
    assert node.log[-2:] == ["POST deployments rollback", "POST lease"]  # The candidate leaves the node's memory.
    assert "gate failed: agrees on 40.0% of the decisions: 100 rows, agreement 40 %" in seen[-1].text


@pytest.mark.parametrize(
    ("kept", "past"),
    [(FAILED, True), ({"verdict": "unknown", "reasons": ["no records"]}, False), (None, False)],
    ids=["past the gate by a person's word", "unknown is said", "an agent without a gate"],
)
def test_a_gate_that_does_not_stop_it_is_still_said(node: Node, open_archive: Any, kept: Any, past: bool) -> None:
    node.gate, seen = kept, []
    assert run_deploy(node, open_archive(), seen, gate=GateOrder(past=past)).state is DeploymentState.TRIAL
    (said,) = [progress.text for progress in seen if progress.step == "gate verdict"]
    assert said.startswith("gate failed" if kept is FAILED else "gate unknown")


def test_a_confirm_is_made_over_a_login_of_its_own(node: Node, open_archive: Any) -> None:
    found = run_deploy(node, open_archive())
    logins = node.logins
    done = asyncio.run(confirm(node, "press-07", found.id, operator="alice"))
    assert done.state is DeploymentState.COMMITTED
    assert node.logins == logins + 1


def test_a_confirm_that_came_too_late_says_that_the_node_went_back(node: Node, open_archive: Any) -> None:
    found = run_deploy(node, open_archive())
    node.deployments[found.id] = msgspec.structs.replace(found, state=DeploymentState.ROLLED_BACK)
    node.refuse["confirm"] = "DEPLOYMENT.ALREADY_ROLLED_BACK"
    with pytest.raises(AgentError, match=r"ALREADY_ROLLED_BACK"):
        asyncio.run(confirm(node, "press-07", found.id, operator="alice"))


def test_a_confirm_whose_answer_was_lost_is_found_to_have_happened(node: Node, open_archive: Any) -> None:
    found = run_deploy(node, open_archive())
    node.lose_after.append("POST deployments/confirm")
    done = asyncio.run(confirm(node, "press-07", found.id, operator="alice"))
    assert done.state is DeploymentState.COMMITTED


def test_a_trial_is_rolled_back_by_hand(node: Node, open_archive: Any) -> None:
    found = run_deploy(node, open_archive())
    done = asyncio.run(rollback(node, "press-07", found.id, operator="alice", reason="too loud"))
    assert done.state is DeploymentState.ROLLED_BACK


def test_a_transition_that_stays_unreachable_is_the_loss_and_no_guess() -> None:
    async def lost() -> Deployment:
        raise LOST

    async def run() -> None:
        with pytest.raises(LinkError):
            await surely(lost, lost, DeploymentState.TRIAL)

    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr("console.delivery.deploy.PAUSE_S", 0.0)
        asyncio.run(run())


def test_a_lease_is_renewed_only_when_a_third_of_it_has_passed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("console.delivery.lease.time.monotonic", lambda: now_s)

    async def run() -> None:
        nonlocal now_s
        async with held_lease(node.client("press-07"), "alice") as lease:
            for _ in range(10):
                await lease.keep()
            assert node.log.count("POST lease") == 1
            now_s = RENEW_AFTER_S
            await lease.keep()
            assert node.log.count("POST lease") == 2

    asyncio.run(run())


def test_pieces_suit_the_link() -> None:
    assert next_piece_bytes(256 << 10, 16.0) == 64 << 10
    assert next_piece_bytes(256 << 10, 0.001) == 1 << 20
    assert next_piece_bytes(CHUNK_BYTES_MAX, 0.001) == CHUNK_BYTES_MAX


def test_rate_and_estimate_are_those_of_the_last_seconds() -> None:
    now_s = 0.0
    meter = Meter(10_000, monotonic=lambda: now_s)
    assert (meter.rate, meter.eta_s) == (None, None)
    for _ in range(20):
        now_s += 1.0
        meter.add(100)
    assert meter.rate == pytest.approx(100.0)
    assert meter.eta_s == pytest.approx(80.0)
