"""The commands that change a node. Each says first what it will do, and does it only after a second, explicit step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from console import figures
from console.delivery.gate import GateOrder, percent
from console.fleet.board import BoardAlert, NodeState
from console.screens.confirm import Change, ConfirmView
from console.screens.deploy import ChooseView, PassportView, PickView, Terms
from console.seat.operations import BundleEntry
from console.times import span_s
from nodeagent.protocol import SHELVE_HOURS_MAX, AlertState, BundleTelemetry, Trial

if TYPE_CHECKING:
    from console.seat.seat import Seat

REVERT_WINDOW_S = 600.0


class Changes:
    """Deploy, confirm, roll back, extend, hold: from the view that asks to the work that does it."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        # What ran before a deployment of this sitting, to be compared with what is on trial.
        self.before: dict[str, BundleTelemetry] = {}
        self._tried: dict[str, tuple[BundleEntry, Terms]] = {}

    def _about(self) -> NodeState | None:
        page = self._seat.page
        name = page.node() if page is not None else None
        state = self._seat.board.nodes.get(name or "")
        if state is None:
            self._seat.say("no node is under the cursor")
        return state

    def _known(self) -> NodeState | None:
        return self._answers(self._about())

    def _answers(self, state: NodeState | None) -> NodeState | None:
        if state is not None and not state.known:
            self._seat.say(f"{state.view.name} does not answer ({state.reason}): nothing can be changed there", "warn")
            return None
        return state

    def _ask(self, change: Change, then: Callable[[], None]) -> None:
        self._seat.push_screen(ConfirmView(self._seat.look, change), lambda yes: then() if yes is True else None)

    # ------------------------------------------------------------ deploy

    def do_deploy(self) -> None:
        state = self._known()
        if state is not None and self._is_free(state):
            view = ChooseView(self._seat.look, state.view.name, [b.digest for b in state.bundles])
            self._seat.push_screen(view, partial(self._chosen, state))

    def deploy_entry(self, node: str, entry: BundleEntry) -> None:
        """The same from the catalog: the bundle is chosen already."""
        state = self._answers(self._seat.board.nodes.get(node))
        if state is not None and self._is_free(state):
            self._chosen(state, entry)

    def _is_free(self, state: NodeState) -> bool:
        """Whether nothing is on trial there; what is, is shown."""
        node = state.view.name
        work = self._seat.works.latest("deploy", node)
        if (work is not None and work.running) or any(b.trial for b in state.bundles):
            self._seat.say(f"{node} has a deployment that is not finished: confirm it or roll it back first", "warn")
            self._seat.go("watch", node)
            return False
        return True

    def _chosen(self, state: NodeState, entry: object) -> None:
        if isinstance(entry, BundleEntry):
            view = PassportView(self._seat.look, state.view.name, entry)
            self._seat.push_screen(view, partial(self._fits, state, entry))

    def _fits(self, state: NodeState, entry: BundleEntry, terms: object) -> None:
        if isinstance(terms, Terms):
            self._ask_to_deploy(state, entry, terms)

    def _ask_to_deploy(self, state: NodeState, entry: BundleEntry, terms: Terms) -> None:
        window_s, gate = terms.window_s, terms.gate
        old = next((b for b in state.bundles if b.bundle == entry.name), None)
        was = f"{old.version} r{old.revision}" if old else "nothing"
        back = f"back to {was}" if old else "back to doing without it, outputs at the safe value,"
        effect = (
            (
                f"The new worker is fed beside the old one until its windows are full, then takes over between two "
                f"sweeps. {entry.name} makes {figures.rate(old.inferences_per_s)} inferences a second now."
            )
            if old
            else "The line gets outputs of this bundle for the first time; write-back is a dry run until confirmed."
        )
        change = Change(
            title=f"Deploy {entry.title} to {state.view.name}",
            what=(
                f"{entry.name}: {was} becomes {entry.version}, signed by {entry.signer}",
                f"{figures.size(entry.size_bytes)} at most are sent; {entry.digest[:19]}",
            ),
            nodes=f"{state.view.name}, 1 node",
            effect=(effect, f"On trial for {figures.countdown(window_s)}. {_told(gate)}"),
            undo=(
                f"r on the next screen, at any time; without a confirm the node goes {back} by itself, "
                "also if this console, the network or the power is gone"
            ),
            typed=state.view.name,
            yes="deploy",
        )
        self._ask(change, partial(self._deploy, state.view.name, entry, terms, old))

    def do_past_gate(self) -> None:
        """The deployment that the gate stopped, once more, whatever the gate says."""
        state = self._known()
        if state is None:
            return
        node = state.view.name
        work, tried = self._seat.works.latest("deploy", node), self._tried.get(node)
        stopped = work is not None and work.state == "failed" and any(step.verdict for step in work.steps)
        if tried is None or not stopped:
            self._seat.say(f"no gate stopped a deployment to {node} in this sitting", "warn")
            return
        entry, terms = tried
        self._ask_to_deploy(state, entry, replace(terms, gate=replace(terms.gate or GateOrder(), past=True)))

    def _deploy(self, node: str, entry: BundleEntry, terms: Terms, old: BundleTelemetry | None) -> None:
        self._tried[node] = entry, terms
        if old is not None:
            self.before[node] = old
        else:
            self.before.pop(node, None)
        operations = self._seat.operations
        self._seat.begin(
            "deploy",
            f"deploy {entry.title}",
            node,
            lambda on_step: operations.deploy(
                node, entry.digest, window_s=terms.window_s, on_step=on_step, gate=terms.gate
            ),
            then=lambda _: self._tell_trial(node, entry.title),
        )
        self._seat.go("watch", node)

    def _tell_trial(self, node: str, title: str) -> None:
        """For whoever is elsewhere: the node's own trial screen shows it, and what became of it, by itself."""
        page = self._seat.page
        if page is None or (page.kind, page.node()) != ("watch", node):
            self._seat.say(f"{node}: {title} is on trial; C confirms, r rolls back")

    def do_rollout_plan(self) -> None:
        if self._seat.opened is None:
            self._seat.say("the console is still being opened: press the key again")
            return
        from console.screens.planning import plan_rollout

        plan_rollout(self._seat)

    def do_watch(self) -> None:
        state = self._about()
        if state is not None:
            self._seat.go("watch", state.view.name)

    # ------------------------------------------------------------ trial

    def _trial(self) -> tuple[str, BundleTelemetry, Trial] | None:
        state = self._known()
        if state is None:
            return None
        for bundle in state.bundles:
            if bundle.trial is not None:
                return state.view.name, bundle, bundle.trial
        self._seat.say(f"nothing is on trial on {state.view.name}")
        return None

    def do_confirm(self) -> None:
        found = self._trial()
        if found is None:
            return
        node, bundle, trial = found
        change = Change(
            title=f"Confirm {bundle.bundle} {bundle.version} on {node}",
            what=(f"{bundle.bundle} r{bundle.revision} stays; nothing goes back by itself any more",),
            nodes=f"{node}, 1 node",
            effect=("The running worker goes on as it is; a changed write-back section is armed as the bundle says.",),
            undo="r starts a new deployment of what ran before, with a trial of its own",
            yes="keep it for good",
        )
        operations = self._seat.operations
        said = f"{node}: {bundle.bundle} {bundle.version} r{bundle.revision} is confirmed"
        self._ask(
            change,
            lambda: self._begin("confirm", f"confirm {bundle.bundle}", node, said,
                                lambda _: operations.confirm(node, trial.deployment)),
        )  # fmt: skip

    def do_extend(self) -> None:
        found = self._trial()
        if found is not None:
            node, bundle, trial = found
            operations, window = self._seat.operations, figures.countdown(trial.window_s)
            said = f"{node}: the trial of {bundle.bundle} has {window} again"
            change = Change(
                title=f"Extend the trial of {bundle.bundle} {bundle.version} on {node}",
                what=(f"it has {window} from now instead of {figures.countdown(trial.seconds_left)}",),
                nodes=f"{node}, 1 node",
                effect=("The revision on trial goes on; nothing is switched. Its guard goes on watching.",),
                undo="r rolls it back at any time; C confirms it before its time is over",
                yes="extend",
            )
            self._ask(
                change,
                lambda: self._begin("extend", f"extend {bundle.bundle}", node, said,
                                    lambda _: operations.extend(node, trial.deployment, trial.window_s)),
            )  # fmt: skip

    def do_rollback(self) -> None:
        state = self._known()
        if state is None or not state.bundles:
            if state is not None:
                self._seat.say(f"nothing is installed on {state.view.name}")
            return
        if len(state.bundles) > 1 and state.bundles[0].trial is None:
            view = PickView(self._seat.look, state.view.name, [b.bundle for b in state.bundles])
            self._seat.push_screen(view, partial(self._picked, state))
        else:
            self._back(state, state.bundles[0])

    def _picked(self, state: NodeState, name: object) -> None:
        for bundle in state.bundles:
            if bundle.bundle == name:
                self._back(state, bundle)

    def _back(self, state: NodeState, bundle: BundleTelemetry) -> None:
        node, page = state.view.name, self._seat.page
        typed = "" if page is not None and page.kind == "watch" else node
        if bundle.trial is not None:
            self._ask(self._end_trial(node, bundle, bundle.trial, typed), partial(self._rollback, node, bundle))
        else:
            change = Change(
                title=f"Put back what ran before {bundle.bundle} {bundle.version} on {node}",
                what=(f"{bundle.bundle} r{bundle.revision} makes room for the revision before it",),
                nodes=f"{node}, 1 node",
                effect=(
                    f"A new activation with a trial of {figures.countdown(REVERT_WINDOW_S)}; the switch is the same.",
                ),
                undo=f"without a confirm {bundle.version} comes back by itself",
                typed=node,
                yes="roll back",
            )
            self._ask(change, partial(self._revert, node, bundle))

    @staticmethod
    def _end_trial(node: str, bundle: BundleTelemetry, trial: Trial, typed: str) -> Change:
        back = f"r{trial.previous_revision}" if trial.previous_revision else "no bundle, outputs at the safe value"
        return Change(
            title=f"Roll back {bundle.bundle} {bundle.version} on {node}",
            what=(f"the trial ends now: back to {back}",),
            nodes=f"{node}, 1 node",
            effect=("The worker before is still warm and takes over between two sweeps.",),
            undo="deploy the bundle again; it is on the node already",
            typed=typed,
            yes="roll back",
        )

    def _rollback(self, node: str, bundle: BundleTelemetry) -> None:
        operations, trial = self._seat.operations, bundle.trial
        assert trial is not None
        self._begin("rollback", f"roll back {bundle.bundle}", node, f"{node}: {bundle.bundle} is rolled back",
                    lambda _: operations.rollback(node, trial.deployment, "asked by the operator"))  # fmt: skip

    def _revert(self, node: str, bundle: BundleTelemetry) -> None:
        operations = self._seat.operations
        self._begin(
            "rollback", f"roll back {bundle.bundle}", node, f"{node}: what ran before is on trial; C confirms it",
            lambda _: operations.revert(node, bundle.bundle, window_s=REVERT_WINDOW_S, reason="asked by the operator"),
        )  # fmt: skip
        self._seat.go("watch", node)

    # ------------------------------------------------------------ hold

    def do_hold(self) -> None:
        state = self._known()
        if state is None or state.view.telemetry is None:
            return
        node, hold = state.view.name, state.view.telemetry.hold
        if hold is not None:
            change = Change(
                title=f"Release the hold of {node}",
                what=(f"the hold of {hold.by} ends: {hold.reason or 'no reason given'}",),
                nodes=f"{node}, 1 node",
                effect=("Outputs follow the models again at once.",),
                undo="h holds it again",
                typed=node,
                yes="release",
            )
            self._ask(change, partial(self._release, node))
            return
        change = Change(
            title=f"Hold {node}",
            what=("every output goes to its safe value",),
            nodes=f"{node}, 1 node",
            effect=("Models and recording go on. An alert stays until the hold is released.",),
            undo="h again releases it",
            asks="give a reason, or none",
            yes="hold",
        )
        self._seat.push_screen(ConfirmView(self._seat.look, change), partial(self._hold, node))

    def do_service(self) -> None:
        state = self._known()
        if state is not None:
            from console.screens.service import ask_service

            ask_service(self._seat, state)

    def _hold(self, node: str, reason: object) -> None:
        if isinstance(reason, str):
            operations = self._seat.operations
            self._begin("hold", "hold", node, f"{node} is held: outputs at the safe value",
                        lambda _: operations.hold(node, reason))  # fmt: skip

    def _release(self, node: str) -> None:
        operations = self._seat.operations
        self._begin("release", "release", node, f"{node} is released", lambda _: operations.release(node, ""))

    # ------------------------------------------------------------ shelve

    def shelve(self, alert: BoardAlert) -> None:
        """Asks for how long and why, or ends it where it is shelved."""
        node, operations = alert.node, self._seat.operations
        if alert.state is AlertState.SHELVED:
            self._begin("shelve", "unshelve", node, f"{node}: {alert.code} is announced again",
                        lambda _: operations.shelve(node, alert.id, 0.0, ""))  # fmt: skip
            return
        change = Change(
            title=f"Shelve {alert.code} of {node}",
            what=(f"{alert.subject}: {alert.message}",),
            nodes=f"{node}, 1 node",
            effect=("Nothing changes on the line. This alert is recorded and not announced, also if it comes again.",),
            undo="z again; it ends by itself when the time is over or the node starts anew",
            asks="how long and why, such as: 4h fan is ordered",
            yes="shelve",
        )
        self._seat.push_screen(ConfirmView(self._seat.look, change), partial(self._shelve, alert))

    def _shelve(self, alert: BoardAlert, answer: object) -> None:
        if not isinstance(answer, str):
            return
        span, _, reason = answer.partition(" ")
        seconds = span_s(span)
        if seconds is None or not 0 < seconds <= SHELVE_HOURS_MAX * 3_600 or not reason.strip():
            most = f"{SHELVE_HOURS_MAX:.0f}h"
            self._seat.say(f"say how long, at most {most}, and why: 4h fan is ordered; nothing was shelved", "warn")
            return
        node, operations = alert.node, self._seat.operations
        self._begin("shelve", "shelve", node, f"{node}: {alert.code} is shelved for {span}: {reason.strip()}",
                    lambda _: operations.shelve(node, alert.id, seconds / 3_600, reason.strip()))  # fmt: skip

    def _begin(self, kind: str, title: str, node: str, said: str, action: Any) -> None:
        self._seat.begin(kind, title, node, action, then=lambda _: self._seat.say(said))


def _told(gate: GateOrder | None) -> str:
    """What the gate asks for, as it is read before a person agrees."""
    if gate is None:
        return "Nothing is tried on the node's records."
    if gate.past:
        return "WHATEVER the recorder gate says, under your name."
    return f"Not switched if it agrees on less than {percent(gate.agreement_min)} of the node's own records."
