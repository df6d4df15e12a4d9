"""What the console and the agent say to each other: types, paths, error codes. Pure; the contract is docs/protocol.md.

Units are suffixes. `*_us` is microseconds: `boottime_us` on CLOCK_BOOTTIME of the node, `wall_us` since the
Unix epoch by the node's own clock, which may be wrong. Digests are `sha256:<64 hex digits>`. Unknown fields are
refused in requests and ignored in answers, so that one version of skew works in both directions.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final, Literal

import msgspec

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 0
API = "/agent/v1"
# What a request may say of its sender: a name, written down as a claim, and a role, which can only lower the socket's.
OPERATOR_HEADER = "X-Outstation-Operator"
ROLE_HEADER = "X-Outstation-Role"
# What the reports of a one-way node are signed for.
ONE_WAY_NAMESPACE = "outstation-status"
ONE_WAY_BYTES_MAX = 4 << 20

# What one request or answer may hold. The server refuses more with LIMIT.*; the client never asks for more.
JSON_BYTES_MAX = 1 << 20
CHUNK_BYTES_MAX = 8 << 20
PAGE_ROWS_MAX = 1_000
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
TRIAL_WINDOW_S_MIN = 5
SHADOW_S_MAX = 7 * 86_400
TRIAL_WINDOW_S_MAX = 86_400
LEASE_S = 60
SHELVE_HOURS_MAX = 72.0


class DeploymentState(enum.StrEnum):
    """Where one deployment stands. REFUSED, COMMITTED and ROLLED_BACK are final."""

    RECEIVING = "RECEIVING"
    STAGED = "STAGED"
    PREFLIGHT_OK = "PREFLIGHT_OK"
    TRIAL = "TRIAL"
    COMMITTED = "COMMITTED"
    ROLLED_BACK = "ROLLED_BACK"
    REFUSED = "REFUSED"


class RollbackReason(enum.StrEnum):
    """Why a trial did not become permanent."""

    FAILED = "FAILED"
    UNCONFIRMED = "UNCONFIRMED"
    INTERRUPTED = "INTERRUPTED"
    REVERTED = "REVERTED"


class Quality(enum.IntEnum):
    """OPC UA severity of a value or a prediction."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class WorkerState(enum.StrEnum):
    """Whether a bundle's worker is answering."""

    STARTING = "starting"
    SERVING = "serving"
    BACKOFF = "backoff"
    STOPPED = "stopped"


class AlertState(enum.StrEnum):
    """ISA-18.2 life cycle, as far as the node keeps it."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    CLEARED = "cleared"


ReviewReason = Literal["alarm", "uncertain", "second opinion", "normal"]
Brought = Annotated[str, msgspec.Meta(max_length=512)]
Owner = Literal["operator", "node", "bundle", "network", "outstation"]


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is not 2xx, under the key `error`."""

    code: str
    message: str
    hint: str = ""
    owner: Owner = "outstation"


class ErrorBody(msgspec.Struct, frozen=True):
    """An error on the wire."""

    error: Error


# Code -> (HTTP status, who can do something about it). Codes are never renamed or reused.
ERRORS: dict[str, tuple[int, Owner]] = {
    "REQUEST.MALFORMED": (400, "outstation"),
    "REQUEST.UNKNOWN_PATH": (404, "outstation"),
    "REQUEST.METHOD": (405, "outstation"),
    "REQUEST.WRONG_NODE": (409, "operator"),
    "REQUEST.WRONG_PROTOCOL": (409, "operator"),
    "REQUEST.TIMEOUT": (408, "network"),
    "REQUEST.ENCODING": (415, "outstation"),
    "SOURCE.PROBE_FAILED": (502, "node"),
    "LIMIT.BODY": (413, "outstation"),
    "LIMIT.HEADERS": (431, "outstation"),
    "LIMIT.BUSY": (503, "node"),
    "ACCESS.MONITOR_ONLY": (403, "operator"),
    "ACCESS.RELEASE_ONLY": (403, "operator"),
    "ACCESS.WORKER": (403, "node"),
    "BLOB.UNKNOWN": (404, "network"),
    "BLOB.OFFSET": (409, "network"),
    "BLOB.MISMATCH": (422, "network"),
    "BLOB.DELTA": (422, "network"),
    "BUNDLE.MALFORMED": (422, "bundle"),
    "BUNDLE.MODEL_REFUSED": (422, "bundle"),
    "BUNDLE.PIPELINE": (422, "bundle"),
    "TRUST.NO_SIGNERS": (403, "operator"),
    "TRUST.SIGNATURE": (403, "bundle"),
    "TRUST.ROLLBACK": (403, "bundle"),
    "TRUST.FAST_FORWARD": (403, "bundle"),
    "TRUST.WRONG_NODE": (403, "bundle"),
    "TRUST.STALE": (409, "operator"),
    "TRUST.LAST_SIGNER": (409, "operator"),
    "TRUST.UNSIGNED": (403, "bundle"),
    "TRUST.MIXED": (403, "bundle"),
    "TRUST.EXPIRED": (403, "operator"),
    "TRUST.REPLAYED": (403, "operator"),
    "CHANGE.NUMBER": (403, "operator"),
    "CHANGE.SECOND_PERSON": (403, "operator"),
    "CHANGE.SAME_PERSON": (403, "operator"),
    "CHANGE.UNPROVEN": (403, "operator"),
    "CHANGE.NOTHING": (404, "operator"),
    "BINDING.MISSING": (422, "operator"),
    "BINDING.MALFORMED": (422, "operator"),
    "BINDING.STALE": (409, "operator"),
    "DEPLOYMENT.UNKNOWN": (404, "operator"),
    "DEPLOYMENT.STATE": (409, "operator"),
    "DEPLOYMENT.TRIAL_RUNNING": (409, "operator"),
    "DEPLOYMENT.MISSING_BLOBS": (409, "network"),
    "DEPLOYMENT.PREFLIGHT": (422, "bundle"),
    "DEPLOYMENT.GUARD": (422, "bundle"),
    "DEPLOYMENT.DISK_FULL": (507, "node"),
    "DEPLOYMENT.READ_ONLY": (507, "node"),
    "DEPLOYMENT.MEMORY": (507, "node"),
    "DEPLOYMENT.ALREADY_ROLLED_BACK": (409, "operator"),
    "DEPLOYMENT.OLD_LOGIN": (409, "operator"),
    "DEPLOYMENT.NOTHING_BEFORE": (409, "operator"),
    "DEPLOYMENT.HOLD": (409, "operator"),
    "DEPLOYMENT.MACHINE_STATE": (409, "operator"),
    "DEPLOYMENT.WRITE_CONFLICT": (409, "operator"),
    "DEPLOYMENT.OUT_OF_SERVICE": (409, "operator"),
    "UPGRADE.RUNNING": (409, "operator"),
    "UPGRADE.NOT_INSTALLED": (404, "operator"),
    "UPGRADE.ENDED": (409, "operator"),
    "CLOCK.NOT_PERMITTED": (403, "node"),
    "CLOCK.IMPLAUSIBLE": (422, "operator"),
    "LEASE.HELD": (409, "operator"),
    "LEASE.FENCED": (409, "operator"),
    "ALERT.UNKNOWN": (404, "operator"),
    "ALERT.RULES": (422, "operator"),
    "RECORD.UNKNOWN": (404, "operator"),
    "TAG.UNKNOWN": (404, "operator"),
    "SOURCE.UNKNOWN": (404, "operator"),
    "MODEL.UNKNOWN": (404, "operator"),
    "MODEL.UNAVAILABLE": (503, "node"),
    "MODEL.INPUT": (400, "operator"),
    "MODEL.FAILED": (500, "bundle"),
    "MODEL.DEADLINE": (504, "bundle"),
    "NODE.SAFE": (503, "node"),
    "INTERNAL": (500, "outstation"),
}


# ---------------------------------------------------------------- what a node tells


class HostHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The machine under the agent. None is: not known, never zero."""

    cpu_percent: float | None = None
    load_1m: float | None = None
    memory_bytes_total: int | None = None
    memory_bytes_used: int | None = None
    disk_bytes_total: int | None = None
    disk_bytes_free: int | None = None
    disk_days_left: float | None = None
    temperature_c: float | None = None
    network_rx_bytes_per_s: float | None = None
    network_tx_bytes_per_s: float | None = None
    uptime_s: float | None = None


class SourceTelemetry(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a pipeline. `age_s` since data last came; None: never."""

    id: str
    type: str
    state: Literal["connecting", "up", "silent", "stopped"]
    age_s: float | None = None
    samples_total: int = 0
    drops_total: int = 0
    bad_items: list[str] = []
    reason: str = ""


class StageTelemetry(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a pipeline: what passed, what it marked, the last value that left it."""

    name: str
    frames_total: int = 0
    marked_total: int = 0
    last: str = ""
    quality: int = 0
    reason: str = ""


class SinkTelemetry(msgspec.Struct, frozen=True, kw_only=True):
    """One sink: delivered, waiting, lost. Nothing is dropped without being counted here."""

    type: str
    state: Literal["up", "down", "stopped"] = "up"
    delivered_total: int = 0
    waiting: int = 0
    waiting_max: int = 0
    dropped_total: int = 0
    reason: str = ""


class LastPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """The newest prediction of a pipeline; `context`: product, shift and the like, where the pipeline names them."""

    wall_us: int
    score: float | None = None
    label: str = ""
    decision: str = ""
    quality: int = 0
    reason: str = ""
    context: str = ""


class ContextTelemetry(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline did under one context, `product=A4 shift=2`, since its worker started.

    `inferences_per_s`: over whole periods of that context alone in which predictions were made. `good_total`: of
    `outcomes_total`, those of good quality. Of the contexts that came last, at most 8; the newest stands last.
    """

    context: str
    predictions_total: int = 0
    errors_total: int = 0
    rejects_total: int = 0
    alarms_total: int = 0
    outcomes_total: int = 0
    good_total: int = 0
    inferences_per_s: float | None = None
    latency_ms_p95: float | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A running trial: without a confirm the node goes back by itself when nothing is left."""

    deployment: str
    seconds_left: float
    window_s: float
    previous_revision: int | None = None


class BundleTelemetry(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle on the node: what is active, how its worker does, what its pipeline does. Rates: last period.

    `drift`: whether the data still looks like the training data, which is not accuracy: `no baseline`, `watching ...`,
    `idle`, `ok`, `drift: ...`. `alarm`: the score and its limit while the decision is an alarm, otherwise empty.
    """

    bundle: str
    model: str
    version: str
    revision: int
    digest: str
    state: WorkerState
    reason: str = ""
    trial: Trial | None = None
    inferences_per_s: float = 0.0
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    latency_ms_p99: float | None = None
    predictions_total: int = 0
    errors_total: int = 0
    rejects_per_s: float = 0.0
    rejects_total: int = 0
    queue: int = 0
    queue_max: int = 0
    quality_good_share: float | None = None
    restarts_total: int = 0
    records_total: int = 0
    records_lost_total: int = 0
    memory_bytes: int | None = None
    drift: str = "no baseline"
    alarm: str = ""
    last: LastPrediction | None = None
    sources: list[SourceTelemetry] = []
    stages: list[StageTelemetry] = []
    sinks: list[SinkTelemetry] = []
    latency_histogram_ms: list[tuple[float, int]] = []
    contexts: list[ContextTelemetry] = []


class OutOfService(msgspec.Struct, frozen=True, kw_only=True):
    """The node is taken out of service by a person; it never lifts itself.

    `owner`: who is to bring it back, where that is not `by`. Past `until_us` its alerts are announced again.
    """

    by: str
    reason: str
    since_us: int
    until_us: int | None = None
    owner: str = ""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Outputs stand at the safe value until a person releases them."""

    by: str
    reason: str
    since_us: int


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Who may change deployments now. `token` only rises."""

    holder: str
    token: int
    seconds_left: float


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An abnormal condition that needs a person. Priority 1 (highest) to 4."""

    id: int
    code: str
    priority: int
    state: AlertState
    subject: str
    message: str
    advice: str
    raised_us: int
    acknowledged_by: str = ""
    cleared_us: int | None = None
    shelved_by: str = ""
    shelved_s_left: float | None = None
    note: str = ""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule as it is carried out. `origin`: `operator`, `default`, or the bundle that brought it.

    `high`, `low` and `deadband` are in the figure's unit; `says`: the same in words, with the unit that a person reads.
    `only`: the one subject it is about; empty: all.
    """

    code: str
    figure: str
    origin: str
    priority: int
    high: float | None = None
    low: float | None = None
    deadband: float = 0.0
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    says: str = ""
    message: str = ""
    advice: str = ""
    only: str = ""
    enabled: bool = True


class AlertRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force: `text` is what the operator set, `defaults` what stands behind it, `bundles` what theirs say.

    A rule of `bundles` is one line: bundle, code, figure and limit. `in_force`: all of them, what counts first first;
    an older agent leaves it empty.
    """

    text: str
    defaults: str
    bundles: list[str] = []
    in_force: list[AlertRule] = []


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the telemetry stream. `cursor` rises by one a line and restarts with `boot_id` or `started_us`."""

    cursor: int
    node_id: str
    boot_id: str
    started_us: int
    boottime_us: int
    wall_us: int
    period_s: float
    mode: Literal["normal", "safe"] = "normal"
    host: HostHealth
    bundles: list[BundleTelemetry] = []
    alerts: list[Alert] = []
    hold: Hold | None = None
    out_of_service: OutOfService | None = None
    lease: Lease | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is and how it does now."""

    node_id: str
    name: str
    agent_version: str
    protocol_major: int
    protocol_minor: int
    access: Literal["monitor", "operate"]
    actor: str
    signers: int
    telemetry: Telemetry


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One log line. `cursor` is unique on the node and rises over restarts; text is cleaned by the reader."""

    cursor: int
    boottime_us: int
    wall_us: int
    level: Literal["debug", "info", "warning", "error"]
    source: str
    text: str


class LogsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Lines in order. `lost` lines between the asked cursor and the first one had been dropped by the cap."""

    lines: list[LogLine]
    next: int
    lost: int = 0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction as recorded. `key` is boot number * 2**48 + boottime in microseconds, unique and rising.

    `label` is what a person said of it where one did; then `model_label` is what the model had said, if that differs.
    `at_us` is when it was made on the axis of a clock that can be believed, where that is not `wall_us`.
    `context`: product, shift and the like, `product=A4 shift=2`, where the pipeline names them.
    """

    key: int
    bundle: str
    revision: int
    wall_us: int
    source_us: int | None
    latency_us: int
    score: float | None
    label: str
    decision: str
    quality: int
    reason: str
    inputs: list[float] | None = None
    outputs: list[float] | None = None
    digest: str = ""
    config: str = ""
    model_label: str = ""
    at_us: int | None = None
    context: str = ""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions that were made and not recorded, counted."""

    key_from: int
    key_to: int
    count: int
    reason: str


class RecordsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Records in key order and the gaps between them. `next` is the `after` of the next page, None at the end."""

    records: list[Record]
    gaps: list[Gap] = []
    next: int | None = None


class LabelRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said of the record `key`, and what that record was; only ever appended. None: not known."""

    id: int
    key: int
    label: str
    note: str
    actor: str
    wall_us: int
    revision: int | None = None
    version: str = ""
    decision: str = ""
    score: float | None = None
    context: str = ""


class LabelsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Labels of one bundle, oldest first. `next` is the `after` of the next page, None at the end."""

    bundle: str
    labels: list[LabelRow]
    next: int | None = None


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """A record that a person should label. `labelled_by`: who has, where a second opinion is asked for."""

    why: ReviewReason
    record: Record
    labelled_by: list[str] = []


class ReviewQueue(msgspec.Struct, frozen=True, kw_only=True):
    """What the asking person should label next, of `looked_at` records, the most telling first."""

    bundle: str
    looked_at: int
    items: list[ReviewItem]


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One fact of the node's history. `hash` is SHA-256 over `previous` and the canonical entry (docs/protocol.md)."""

    seq: int
    boot_id: str
    boottime_us: int
    wall_us: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    previous: str
    hash: str


class LedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries in order, and the head of the chain when the page was read."""

    entries: list[LedgerEntry]
    head_seq: int
    head_hash: str


class RecordsHead(msgspec.Struct, frozen=True, kw_only=True):
    """The newest record of a bundle, without its values; None: nothing was recorded yet."""

    bundle: str
    records_total: int
    newest: Record | None = None


class OneWayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a node behind a data diode tells of itself, as a signed file: see "One-way nodes" in docs/protocol.md.

    `sequence` rises by one with each report and never restarts, so that loss and replay are seen. `wall_us` is the
    node's own clock. `ledger` holds entries that follow each other and end at the head.
    """

    format: Literal[1] = 1
    node_id: str
    sequence: int
    every_s: float
    boot_id: str
    boottime_us: int
    wall_us: int
    status: Status
    records: list[RecordsHead] = []
    ledger: list[LedgerEntry] = []
    ledger_head_seq: int = 0
    ledger_head_hash: str = ""


class TrendPoint(msgspec.Struct, frozen=True, array_like=True):
    """One rollup of a node by its wall clock. Means; of latency the worst. None: not known, never zero."""

    wall_us: int
    inferences_per_s: float | None
    latency_ms_p95: float | None
    cpu_percent: float | None
    memory_percent: float | None
    rejects_per_s: float | None
    score: float | None = None


class TrendLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of a figure, as an alert rule names it (`bundle.latency_ms_p95`), and in that figure's unit.

    `side`: whether above or below it is wrong. `code`: of the alert that it raises, or DECIDE for the decision.
    """

    figure: str
    value: float
    side: Literal["high", "low"]
    code: str


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """Rollups of one bundle (or, with no bundle, of the host), oldest first, and the limits that are in force now."""

    bundle: str
    step_s: float
    points: list[TrendPoint]
    limits: list[TrendLimit] = []


# ---------------------------------------------------------------- deployments


class BlobState(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a blob the node holds. Complete means: the whole was hashed and is the digest.

    `patches`: the node can make blobs of differences.
    """

    digest: str
    received_bytes: int
    complete: bool
    patches: bool = False


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle to one node. `actor` deployed it; `ended_by` confirmed it or ended it, a person or the node."""

    id: str
    bundle: str
    version: str
    digest: str
    state: DeploymentState
    reason: RollbackReason | None = None
    error: Error | None = None
    revision: int | None = None
    previous_revision: int | None = None
    window_s: float = 600.0
    seconds_left: float | None = None
    missing: list[str] = []
    preflight: dict[str, Any] = {}
    switch_gap_ms: float | None = None
    actor: str = ""
    created_us: int = 0
    changed_us: int = 0
    reachability: Literal["", "proved", "claimed"] = ""
    ended_by: str = ""


class DeploymentsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    deployments: list[Deployment]


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """What one activation put on the node."""

    bundle: str
    revision: int
    version: str
    digest: str
    binding_revision: int
    since_us: int
    active: bool


# What a change number is, of whole text, and the same in words.
CHANGE_NUMBER_PATTERN: Final = r"[A-Za-z0-9#][A-Za-z0-9._/#: -]{0,63}"
CHANGE_NUMBER_WORDS: Final = "1 to 64 letters, digits and . _ / # : - and spaces"


class Write(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every change carries: for whom it is, who holds the lease. `node_id` wrong: refused, nothing done.

    `change_number`: of the plant's own books; it stands in every ledger entry that the write makes.
    """

    node_id: str
    lease: int | None = None
    change_number: str = ""


class SignedWarrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A permit or an approval (docs/protocol.md): the document as it was signed, and its armoured SSHSIG."""

    document: str
    signature: str


class ProbeRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST sources/probe: where to look. `at`: a topic, node or block; `first`, `count`: registers or bytes."""

    url: str
    table: str = "holding"
    unit_id: int = 1
    first: int = 0
    count: int = 32
    at: str = ""
    seconds: float = 5.0


class ProbeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a probe tells: a note, or a row under the newest `columns`."""

    note: str = ""
    columns: list[str] = []
    row: list[str] = []


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a probe found, in order."""

    rows: list[ProbeRow]


class StageRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST deployments: `id` makes it idempotent. Both blobs may still be missing; the answer lists what is.

    `permit`: lets a bundle below the floor in, once, on this node. `brought`: by which receipt of a scan station it
    came to the console, for the ledger.
    """

    id: str
    manifest: str
    signature: str
    window_s: float = 600.0
    permit: SignedWarrant | None = None
    brought: Brought = ""


class DeploymentRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST deployments/ID/{preflight,activate,confirm,rollback}.

    For activate, where the node's policy asks a second person: `approval`, or `emergency`, which is why there is none.
    """

    reason: str = ""
    allow_gap: bool = False
    approval: SignedWarrant | None = None
    emergency: str = ""


class GateRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST deployments/ID/gate: the candidate on the node's last `rows` recorded inputs, against what was decided then.

    Fewer than `rows_min` rows give no verdict. `score_shift_max`: of the mean. `latency_ratio_max`: the candidate's p95
    over that of the active revision, both alone on this node over the same rows. None: not judged.
    """

    rows: int = 1_000
    rows_min: int = 50
    agreement_min: float = 0.9
    score_shift_max: float | None = None
    latency_ms_p95_max: float | None = None
    latency_ratio_max: float | None = None


class GateRow(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded prediction and what the candidate makes of its inputs."""

    key: int
    wall_us: int
    score_before: float | None
    score_after: float | None
    decision_before: str
    decision_after: str


class ContextAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """Of `decided` decisions under one context, `product=A4`, how many were the same; empty: none was named."""

    context: str
    decided: int
    agreed: int


class GateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the candidate did; kept as `gate` in Deployment.preflight. `unknown` is not `passed`: `reasons` say why.

    `agreement`: share of equal decisions, None where nothing was decided. `flips`: `before -> after` and how often.
    Shifts are of the score, after minus before; `p95` and `max` of its size. `active_*`: the active revision over the
    same rows, so that like is compared with like; `active_agreement` below 1 is what the method itself does not see.
    `contexts`: the agreement of each product and the like, where there were several; those with most rows.
    """

    verdict: Literal["passed", "failed", "unknown"]
    reasons: list[str] = []
    rows: int = 0
    errors: int = 0
    first_wall_us: int | None = None
    last_wall_us: int | None = None
    agreement: float | None = None
    active_agreement: float | None = None
    flips: dict[str, int] = {}
    score_shift_mean: float | None = None
    score_shift_p95: float | None = None
    score_shift_max: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    active_latency_ms_p50: float | None = None
    active_latency_ms_p95: float | None = None
    worst: list[GateRow] = []
    notes: list[str] = []
    contexts: list[ContextAgreement] = []


class ShadowRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST deployments/ID/shadow: the candidate fed live beside the active revision for `seconds`; 0 ends it now.

    Limits as GateRequest has them, over the sweeps that both answered.
    """

    seconds: float = 1_800.0
    rows_min: int = 50
    agreement_min: float = 0.9
    score_shift_max: float | None = None
    latency_ms_p95_max: float | None = None
    latency_ratio_max: float | None = None


class ShadowVerdict(GateVerdict, frozen=True, kw_only=True):
    """How a candidate did as a shadow; kept as `shadow` in Deployment.preflight. `running`: no verdict yet.

    `compared_s`: how long it was fed, `shed_s`: how long it was not, to leave room. `unpaired`: answers without a
    partner. Latencies are those of the pipeline.
    """

    running: bool = False
    seconds: float = 0.0
    left_s: float = 0.0
    compared_s: float = 0.0
    shed_s: float = 0.0
    unpaired: int = 0


class ExtendRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST deployments/ID/extend: a new window from now."""

    window_s: float


class RevertRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST bundles/NAME/revert: activates the previous bundle again, with a trial of its own."""

    id: str
    window_s: float = 600.0
    reason: str = ""


class LeaseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST lease: take or renew. `token` names the lease being renewed; `release` gives it back."""

    node_id: str
    holder: str
    token: int | None = None
    release: bool = False
    break_held: bool = False


class HoldRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST hold / POST hold/release: one person, no lease."""

    node_id: str
    reason: str = ""


class OutOfServiceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST out-of-service: set with a reason, an owner and an expected length, or lift."""

    node_id: str
    reason: str = ""
    hours: float | None = None
    lift: bool = False
    owner: str = ""
    change_number: str = ""


class AcknowledgeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST alerts/ID/acknowledge."""

    node_id: str
    note: str = ""


class ShelveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST alerts/ID/shelve: not announced for `hours`, at most SHELVE_HOURS_MAX; 0 ends that. `note` says why."""

    node_id: str
    hours: float
    note: str = ""


class RulesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT alerts/rules: the text of the operator's rules (TOML); empty: the defaults alone. `dry_run`: only read."""

    node_id: str
    text: str
    dry_run: bool = False


class LabelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST records/KEY/label: appended, never edited."""

    node_id: str
    bundle: str
    label: str
    note: str = ""


class TrustRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST trust: `change` is the document that was signed (docs/protocol.md), `signature` its armoured SSHSIG."""

    change: str
    signature: str
    approval: SignedWarrant | None = None
    emergency: str = ""


class ReviewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST review: another person has looked at what was done here as an emergency."""

    node_id: str
    note: str = ""


class HandoverRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST handover: the sender takes over `items`, as the console lists what stands here."""

    node_id: str
    items: list[str]
    note: str = ""


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken, and by whom: one ledger entry `handover.take` an item."""

    by: str
    items: list[str]


class TagMarkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST tags/mark: the sensor behind a tag was replaced or recalibrated; `note` says why, for the ledger."""

    node_id: str
    tag: str
    mark: Literal["replaced", "recalibrated"]
    note: str


class TagMark(msgspec.Struct, frozen=True, kw_only=True):
    """What was marked. `bundles`: whose drift windows begin anew from here."""

    tag: str
    mark: str
    note: str
    by: str
    wall_us: int
    bundles: list[str]


class SourceAcceptRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST sources/accept: the device behind a source is not what it was, and it is the right one."""

    node_id: str
    bundle: str
    source: str
    note: str = ""


class SourceAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """What had changed and is taken for right from now on."""

    bundle: str
    source: str
    changed: str
    by: str


class TrustSigner(msgspec.Struct, frozen=True, kw_only=True):
    """One allowed signer: who, with which key, for what."""

    principals: str
    fingerprint: str
    namespaces: list[str]


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Who may sign on the node. A change names `list_digest`, so that it counts once and for this list only."""

    list_digest: str
    signers: list[TrustSigner]


class Bindings(msgspec.Struct, frozen=True, kw_only=True):
    """The node's own values for a bundle's named inputs and outputs; secrets are shown as `***`."""

    revision: int
    values: dict[str, Any]
    missing: dict[str, list[str]] = {}


class BindRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT bindings: the whole new set over `base_revision`; bundles that use a changed name go through a trial."""

    base_revision: int
    set: dict[str, Any]
    unset: list[str] = []
    window_s: float = 600.0
    dry_run: bool = False
    approval: SignedWarrant | None = None
    emergency: str = ""


class BindAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What changed (`old` None: new; `new` None: gone), and the trials that it started.

    `digest` names the change for a second person's approval.
    """

    revision: int
    changes: dict[str, tuple[Any, Any]]
    deployments: list[str] = []
    digest: str = ""


class PatchRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST blobs/DIGEST/patch: make it of the blob `old` and the difference `delta`, which are both on the node."""

    old: str
    delta: str


class ImportRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST imports: a bundle from a stick, by the digests of its manifest and signature; `brought` as for stage."""

    manifest: str
    signature: str
    brought: Brought = ""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that a person brought to the node. Until it is `complete`, send what is `missing` and ask again."""

    digest: str
    bundle: str = ""
    version: str = ""
    signer: str = ""
    complete: bool = False
    missing: list[str] = []


class PassportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST passport: the bundle's facts and sizes, before any byte moves.

    Its pipeline's text is `pipeline` among the facts, for the places that it writes; older consoles send none.
    """

    node_id: str
    facts: dict[str, Any]
    blob_sizes: dict[str, int]


# Items of a passport that are there where the node's `[policy]` asks for more than the bundle: verdict `warn`.
ASKS_NUMBER: Final = "change number"
ASKS_PERSON: Final = "second person"


class PassportItem(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the passport. Each `no` names its fix in `fix`."""

    name: str
    verdict: Literal["yes", "no", "unknown", "warn"]
    text: str
    fix: str = ""


class Passport(msgspec.Struct, frozen=True, kw_only=True):
    """Does this bundle fit this node."""

    fits: bool
    items: list[PassportItem]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check of the node."""

    name: str
    verdict: Literal["ok", "warn", "bad", "unknown"]
    text: str
    advice: str = ""


class ClockReading(msgspec.Struct, frozen=True, kw_only=True):
    """GET clock: both clocks at one moment. `may_set`: whether the agent could set the wall clock."""

    boot_id: str
    boottime_us: int
    wall_us: int
    may_set: bool = False


class ClockRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST clock: what the operator's clock reads as this arrives, to within `error_us` (half the round trip).

    `set` false: the node's clock stays as it is, and records are re-timed by the difference.
    """

    wall_us: int
    error_us: int
    set: bool = True


class ClockSet(msgspec.Struct, frozen=True, kw_only=True):
    """What the node's clock read before, and by how much it was wrong."""

    before_us: int
    moved_us: int
    error_us: int
    was_set: bool


class RehearseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST rehearse: every active bundle as after a power cut; each has `budget_s` to its first prediction."""

    node_id: str
    budget_s: float = 10.0


class BundleRehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """How one bundle came up with nothing but what is on the disk. `agreement` with what was decided then."""

    bundle: str
    version: str
    passed: bool
    problem: str = ""
    isolated: bool = False
    first_s: float | None = None
    golden_cases: int = 0
    rows: int = 0
    agreement: float | None = None


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """How the node would come up by itself. `isolated`: without any network, where the kernel allows that."""

    passed: bool
    text: str
    isolated: bool = False
    bundles: list[BundleRehearsal] = []


class AgentUpgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions of the agent are on the node, which runs, and where the last upgrade stands.

    `launcher` is the version of the process that stays until the node is restarted; "" where nothing can be upgraded.
    """

    running: str
    launcher: str
    installed: list[str] = []
    id: str = ""
    version: str = ""
    previous: str = ""
    phase: Literal["none", "trial", "committed", "rolled_back"] = "none"
    seconds_left: float | None = None
    reason: str = ""
    text: str = ""


class UpgradeRequest(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST upgrade: an installed version of the agent on trial; the same `id` is done once. `brought` as for stage."""

    id: str
    version: str
    window_s: float = 120.0
    brought: Brought = ""


class UpgradeEnd(Write, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST upgrade/confirm and upgrade/rollback."""

    id: str


class Tap(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep after one stage; `context`: of the pipeline then, `product=A4 shift=2`, where it names any."""

    stage: str
    wall_us: int
    names: list[str]
    values: list[float | None]
    quality: list[int]
    reasons: list[str] = []
    context: str = ""


class PipelineReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST tap/BUNDLE/replay: the text of an edited pipeline.toml, and how many of the newest sweeps it is given."""

    node_id: str
    pipeline: str
    last: int = 1_000


class PipelineSide(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two pipelines: its stages' counters after the last sweep, and how often it decided what."""

    stages: list[StageTelemetry] = []
    decisions: dict[str, int] = {}


class SweepChange(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction that differs, at its source's time. Empty decision: that side made none at this time."""

    at_us: int
    decision_before: str
    decision_after: str
    score_before: float | None = None
    score_after: float | None = None
    reason_before: str = ""
    reason_after: str = ""


class PipelineReplay(msgspec.Struct, frozen=True, kw_only=True):
    """The running pipeline and the edited one over the same sweeps. `problem`: why not, `line`: where in the file."""

    problem: str = ""
    line: int = 0
    sweeps: int = 0
    first_us: int = 0
    last_us: int = 0
    before: PipelineSide = PipelineSide()
    after: PipelineSide = PipelineSide()
    differing: int = 0
    changes: list[SweepChange] = []


# Every path of the API: (method, path) -> (request type, answer type, needs the operate socket).
# {x} is one path segment. A stream answers NDJSON lines of its type; bytes have no JSON body.
ROUTES: dict[tuple[str, str], tuple[Any, Any, bool]] = {
    ("GET", "/agent/v1/status"): (None, Status, False),
    ("GET", "/agent/v1/telemetry"): (None, Telemetry, False),
    ("GET", "/agent/v1/trend"): (None, Trend, False),
    ("GET", "/agent/v1/logs"): (None, LogsPage, False),
    ("GET", "/agent/v1/logs/stream"): (None, LogLine, False),
    ("GET", "/agent/v1/records"): (None, RecordsPage, False),
    ("POST", "/agent/v1/records/{key}/label"): (LabelRequest, Record, False),
    ("GET", "/agent/v1/labels"): (None, LabelsPage, False),
    ("GET", "/agent/v1/labels/queue"): (None, ReviewQueue, False),
    ("GET", "/agent/v1/ledger"): (None, LedgerPage, False),
    ("GET", "/agent/v1/alerts"): (None, list[Alert], False),
    ("POST", "/agent/v1/alerts/{id}/acknowledge"): (AcknowledgeRequest, Alert, False),
    ("POST", "/agent/v1/alerts/{id}/shelve"): (ShelveRequest, Alert, True),
    ("GET", "/agent/v1/alerts/rules"): (None, AlertRules, False),
    ("PUT", "/agent/v1/alerts/rules"): (RulesRequest, AlertRules, True),
    ("GET", "/agent/v1/revisions"): (None, list[Revision], False),
    ("GET", "/agent/v1/tap/{bundle}"): (None, Tap, False),
    ("POST", "/agent/v1/tap/{bundle}/replay"): (PipelineReplayRequest, PipelineReplay, True),
    ("GET", "/agent/v1/checks"): (None, list[Check], False),
    ("POST", "/agent/v1/rehearse"): (RehearseRequest, Rehearsal, True),
    ("GET", "/agent/v1/upgrade"): (None, AgentUpgrade, False),
    ("POST", "/agent/v1/upgrade"): (UpgradeRequest, AgentUpgrade, True),
    ("POST", "/agent/v1/upgrade/confirm"): (UpgradeEnd, AgentUpgrade, True),
    ("POST", "/agent/v1/upgrade/rollback"): (UpgradeEnd, AgentUpgrade, True),
    ("GET", "/agent/v1/clock"): (None, ClockReading, False),
    ("POST", "/agent/v1/clock"): (ClockRequest, ClockSet, True),
    ("POST", "/agent/v1/passport"): (PassportRequest, Passport, False),
    ("POST", "/agent/v1/sources/probe"): (ProbeRequest, Probe, True),
    ("POST", "/agent/v1/sources/accept"): (SourceAcceptRequest, SourceAccepted, True),
    ("POST", "/agent/v1/tags/mark"): (TagMarkRequest, TagMark, True),
    ("GET", "/agent/v1/blobs/{digest}"): (None, BlobState, False),
    ("PUT", "/agent/v1/blobs/{digest}"): (bytes, BlobState, True),
    ("POST", "/agent/v1/blobs/{digest}/patch"): (PatchRequest, BlobState, True),
    ("POST", "/agent/v1/imports"): (ImportRequest, Imported, True),
    ("GET", "/agent/v1/deployments"): (None, DeploymentsPage, False),
    ("POST", "/agent/v1/deployments"): (StageRequest, Deployment, True),
    ("GET", "/agent/v1/deployments/{id}"): (None, Deployment, False),
    ("POST", "/agent/v1/deployments/{id}/preflight"): (DeploymentRequest, Deployment, True),
    ("POST", "/agent/v1/deployments/{id}/gate"): (GateRequest, Deployment, True),
    ("POST", "/agent/v1/deployments/{id}/shadow"): (ShadowRequest, Deployment, True),
    ("POST", "/agent/v1/deployments/{id}/activate"): (DeploymentRequest, Deployment, True),
    ("POST", "/agent/v1/deployments/{id}/confirm"): (DeploymentRequest, Deployment, True),
    ("POST", "/agent/v1/deployments/{id}/extend"): (ExtendRequest, Deployment, True),
    ("POST", "/agent/v1/deployments/{id}/rollback"): (DeploymentRequest, Deployment, True),
    ("POST", "/agent/v1/bundles/{name}/revert"): (RevertRequest, Deployment, True),
    ("GET", "/agent/v1/bindings"): (None, Bindings, False),
    ("PUT", "/agent/v1/bindings"): (BindRequest, BindAnswer, True),
    ("GET", "/agent/v1/trust"): (None, Trust, False),
    ("POST", "/agent/v1/trust"): (TrustRequest, Trust, True),
    ("GET", "/agent/v1/lease"): (None, Lease | None, False),
    ("POST", "/agent/v1/lease"): (LeaseRequest, Lease, True),
    ("POST", "/agent/v1/hold"): (HoldRequest, Hold, True),
    ("POST", "/agent/v1/hold/release"): (HoldRequest, Status, True),
    ("POST", "/agent/v1/out-of-service"): (OutOfServiceRequest, Status, True),
    ("POST", "/agent/v1/review"): (ReviewRequest, Status, True),
    ("POST", "/agent/v1/handover"): (HandoverRequest, Handover, False),
}

# What brings something new to the node, or changes who may: of those who operate, only who releases may. Who operates
# keeps, extends and undoes trials, goes back, holds and releases, and takes out of service.
RELEASE_ROUTES: frozenset[tuple[str, str]] = frozenset(
    route
    for route, (_, _, needs_operate) in ROUTES.items()
    if needs_operate
    and (
        route[1].startswith(("/agent/v1/blobs/", "/agent/v1/bindings", "/agent/v1/trust"))
        or route[1] in ("/agent/v1/deployments", "/agent/v1/imports", "/agent/v1/upgrade")
        or route[1].endswith(("/preflight", "/gate", "/shadow", "/activate"))
    )
)
