"""What each kind of alert means and what to do about it: the one source of the alert screen and of docs/operator.md.

`python -m console.fleet.alertbook` prints the handbook's table; a test holds both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One code. `priority` as the handbook says it; `latched`: an acknowledgement ends it."""

    code: str
    priority: str
    means: str
    do: str
    latched: bool = False


KINDS: Final = (
    Kind(
        "MODEL.ALARM",
        "1",
        "the model says that the machine is not well",
        "look at the machine; `outstation records` has inputs and score",
    ),
    Kind(
        "NODE.SAFE",
        "1",
        "the node's database could not be opened; the last known good bundle is served, nothing can be changed",
        "`outstation-agent check` at the node; look at its disk",
    ),
    Kind(
        "BLOB.DAMAGED",
        "1",
        "a file of a bundle is not what it was; an earlier revision serves",
        "check the disk, deploy the bundle again",
        latched=True,
    ),
    Kind(
        "DISK.LOW",
        "2",
        "less free than `[disk] bytes_free_min`; deployments are refused, serving goes on",
        "free space, or lower `[records] bytes_max` in node.toml",
    ),
    Kind(
        "HOST.TEMPERATURE",
        "2",
        "the processor is over `[alerts] temperature_c_max`",
        "check cooling and the cabinet's fan",
    ),
    Kind("HOLD", "2", "outputs stand at their safe value", "`outstation release` once the plant may be driven again"),
    Kind(
        "WORKER.RESTARTS",
        "2",
        "a bundle's worker ends again and again",
        "read the node's log; roll the bundle back if it is new",
    ),
    Kind(
        "PREDICTIONS.FAILED",
        "2",
        "the model failed on sweeps of the last minute",
        "read the node's log; roll the bundle back if it is new",
    ),
    Kind(
        "SOURCE.SILENT",
        "2",
        "a source has sent nothing for `[alerts] source_silent_s`",
        "check the device and its network",
    ),
    Kind(
        "TRIAL.ROLLED_BACK",
        "2, or 3 after a reboot",
        "a trial did not become permanent",
        "`outstation history`; deploy again once the cause is known",
        latched=True,
    ),
    Kind(
        "RECORDS.LOST",
        "3",
        "predictions of the last minute were not recorded",
        "the disk is too slow or full, or the rate too high",
    ),
    Kind(
        "PREDICTIONS.REJECTED",
        "3",
        "for a minute more than half of the sweeps were too bad for the model",
        "look which stage marks the values Bad, and at the sensor behind it",
    ),
    Kind(
        "MODEL.DRIFT",
        "3",
        "the data no longer looks like the training data; that is drift, not accuracy",
        "look at the records, label some, see whether sensor, product or machine changed; a new sensor: "
        "`outstation tag mark NODE TAG replaced --note ...`",
    ),
    Kind(
        "SOURCE.BAD_ITEMS",
        "3",
        "for a minute the device did not give all tags",
        "`outstation source probe`: is the tag still there, and under which name; `source changed`: "
        "`outstation source accept NODE BUNDLE SOURCE` once a person has looked",
    ),
    Kind("SINK.DROPPED", "3", "a sink gave up messages", "see whether the receiver is up and takes what it is sent"),
    Kind(
        "DISK.FORECAST",
        "3",
        "at the rate of the last hours the disk is full within 3 days",
        "see what fills it; lower `[records] bytes_max` or `days_max`",
    ),
    Kind(
        "CLOCK.UNSET",
        "3",
        "the wall clock was never set; times shown are wrong, records and trials are not",
        "set it, or give the node a time server",
    ),
    Kind(
        "RULES.UNREADABLE",
        "3",
        "alert rules have a wrong line; others are in force",
        "correct the line, `outstation alert rules NODE --set FILE`",
        latched=True,
    ),
    Kind(
        "CHANGE.EMERGENCY",
        "2",
        "somebody changed the node without the second person that it asks for",
        "another person looks at it: `outstation ledger show`, then `outstation review NODE`; "
        "an acknowledgement does not end it",
        latched=True,
    ),
    Kind(
        "SYSLOG.BEHIND",
        "3",
        "ledger entries wait for a syslog receiver that takes none",
        "look at the receiver, or name another in node.toml, `[syslog] target`; nothing is lost meanwhile",
        latched=True,
    ),
    Kind(
        "ONE_WAY.NOT_WRITTEN",
        "3",
        "no report of a one-way node goes out to its folder",
        "see that the folder can be written and has room; who watches the node sees it grow old meanwhile",
        latched=True,
    ),
    Kind(
        "OUT_OF_SERVICE.OVERDUE",
        "3",
        "out of service for longer than was expected",
        "ask the person named, then lift or renew it",
    ),
    Kind(
        "CLOCK.STEPPED",
        "4",
        "the wall clock jumped by more than 2 s within 10 min",
        "see what sets it; only the times shown depend on it",
    ),
    Kind(
        "BINDINGS.EDITED",
        "3",
        "bindings.toml was edited by hand and is not used",
        "change it with `outstation node bind`, which tries it first",
        latched=True,
    ),
)
# What this console says itself, about a node that it does not reach.
LINKS: Final = (
    Kind("LINK.DOWN", "3", "the node does not answer: nothing is known of it", "check power, cable and jump host"),
    Kind("LINK.REFUSED", "2", "a key, a password or a host key was refused", "the message says which"),
    Kind("LINK.NO_AGENT", "3", "the login works and nobody listens", "start the agent, or name its --socket"),
    Kind(
        "LINK.WRONG_PROTOCOL",
        "3",
        "agent and console speak different versions",
        "update the side that the message names",
    ),
    Kind(
        "LINK.STALE",
        "3",
        "the login stands and telemetry does not come",
        "the node is busy, or its agent hangs: see its log",
    ),
)
_BY_CODE: Final = {kind.code: kind for kind in (*KINDS, *LINKS)}


def kind_of(code: str) -> Kind | None:
    """The kind of a code; None for one that a bundle's own rules made up."""
    return _BY_CODE.get(code)


def plain(text: str) -> str:
    """A text of the book without the marks of its page."""
    return text.replace("`", "")


def table() -> str:
    """The handbook's table."""
    head = ("| code | priority | it means | what to do |", "| --- | --- | --- | --- |")
    rows = [
        f"| `{kind.code}`{' *' if kind.latched else ''} | {kind.priority} | {kind.means} | {kind.do} |"
        for kind in KINDS
    ]
    return "\n".join((*head, *rows)) + "\n"


if __name__ == "__main__":
    print(table(), end="")
