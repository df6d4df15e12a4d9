"""The switch: no request fails, none is answered by the old revision after it, and there is a way back."""

import os
import signal
import threading
import time

import pytest

CLIENTS = 8
ROUNDS = 10
PAUSE_S = 0.002


@pytest.fixture
def serving(workers, bundles):
    """Revision 1 serves."""
    workers.start()
    workers.ask("ensure", activation=bundles.activation(1))
    return workers


class Load:
    """Clients on kept-alive connections that ask without end, and remember each answer with its times."""

    def __init__(self, connect, socket_name: str, count: int) -> None:
        self.answers: list[tuple[float, float, int]] = []
        self.errors: list[str] = []
        self._stop = threading.Event()
        clients = [connect(socket_name) for _ in range(count)]
        self._threads = [threading.Thread(target=self._ask, args=(client,)) for client in clients]
        for thread in self._threads:
            thread.start()

    def _ask(self, client) -> None:
        number = 0
        try:
            while not self._stop.is_set():
                number = (number + 1) % 900
                sent_s = time.monotonic()
                value = client.value(number, 0, 0, 0)
                revision, rest = divmod(value, 1000)
                if rest != number:
                    self.errors.append(f"{number} became {value}")
                self.answers.append((sent_s, time.monotonic(), int(revision)))
                time.sleep(PAUSE_S)
        except (OSError, AssertionError) as error:
            self.errors.append(repr(error))

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def test_twenty_switches_under_load_cost_no_request_and_none_is_answered_late(serving, bundles, connect):
    loads = [Load(connect, "m-press", CLIENTS), Load(connect, "agent", CLIENTS)]
    answering = [(0.0, 0.0, 1)]
    try:
        for revision in range(2, ROUNDS + 2):
            serving.ask("prepare", activation=bundles.activation(revision))
            for order, to_revision in (("switch", revision), ("switch_back", 1)):
                began_s = time.monotonic()
                report = serving.ask(order)
                report = report.get("report", report)
                answering.append((began_s, time.monotonic(), to_revision))
                assert report["to_revision"] == to_revision
                assert report["connections_passed"] >= CLIENTS
                time.sleep(10 * PAUSE_S)
    finally:
        for load in loads:
            load.end()
    for load in loads:
        assert load.errors == []
        assert {revision for _, _, revision in load.answers} == set(range(1, ROUNDS + 2))
        for sent_s, answered_s, revision in load.answers:
            assert revision in allowed(answering, sent_s, answered_s)


def allowed(answering: list[tuple[float, float, int]], sent_s: float, answered_s: float) -> set[int]:
    """Revisions that may answer: what served when the request was sent, and all that came before the answer."""
    before = [revision for _, returned_s, revision in answering if returned_s <= sent_s]
    during = [revision for began_s, returned_s, revision in answering if began_s <= answered_s and returned_s > sent_s]
    return {before[-1], *during}


def test_a_request_that_arrived_in_two_halves_round_a_switch_is_answered_by_the_new_revision(serving, bundles, connect):
    client = connect()
    assert client.value(1, 1, 1, 1) == 1004
    body = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,1,1,1]}]}'
    request = b"POST /v2/models/press/infer HTTP/1.1\r\nhost: n\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    client.sock.sendall(request[:70])
    serving.ask("prepare", activation=bundles.activation(2))
    serving.ask("switch")
    client.sock.sendall(request[70:])
    status, answer = client.answer()
    assert (status, answer["outputs"][0]["data"]) == (200, [2004.0])


def test_the_way_back_is_warm_while_the_previous_worker_lives(serving, bundles, connect):
    client = connect()
    serving.ask("prepare", activation=bundles.activation(2, trial=True))
    serving.ask("switch")
    before = {worker["pid"] for worker in serving.ask("tell")["workers"]}
    assert client.value(0, 0, 0, 0) == 2000
    report = serving.ask("switch_back")["report"]
    assert (report["from_revision"], report["to_revision"]) == (2, 1)
    assert client.value(0, 0, 0, 0) == 1000
    (left,) = serving.ask("tell")["workers"]
    assert left["pid"] in before


def test_the_way_back_is_found_when_the_previous_worker_is_gone(serving, bundles, connect, until):
    serving.ask("prepare", activation=bundles.activation(2, trial=True))
    serving.ask("switch")
    (warm,) = [worker for worker in serving.ask("tell")["workers"] if worker["state"] == "released"]
    os.kill(warm["pid"], signal.SIGKILL)
    until(lambda: len(serving.ask("tell")["workers"]) == 1, "the previous worker is gone")
    report = serving.ask("switch_back")["report"]
    assert report["to_revision"] == 1
    assert connect().value(0, 0, 0, 0) == 1000


def test_the_way_back_is_found_when_the_worker_on_trial_died(serving, bundles, connect, until):
    serving.ask("prepare", activation=bundles.activation(2, trial=True))
    serving.ask("switch")
    (bad,) = [worker for worker in serving.ask("tell")["workers"] if worker["state"] == "active"]
    os.kill(bad["pid"], signal.SIGKILL)
    assert serving.ask("switch_back")["report"]["to_revision"] == 1
    assert connect().value(0, 0, 0, 0) == 1000
    until(lambda: [worker["revision"] for worker in serving.ask("tell")["workers"]] == [1], "one worker is left")


def test_the_way_back_is_found_by_a_supervisor_that_knows_it_from_arming_alone(serving, bundles, connect, until):
    serving.ask("prepare", activation=bundles.activation(2, trial=True))
    serving.ask("switch")
    first = serving.ask("tell")["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: serving.ask("tell")["pid"] != first, "another supervisor")
    serving.ask("ensure", activation=bundles.activation(2, trial=True))
    serving.ask("arm", activation=bundles.activation(1), deadline_us=1 << 60)
    assert connect().value(0, 0, 0, 0) == 2000
    assert serving.ask("switch_back")["report"]["to_revision"] == 1
    assert connect().value(0, 0, 0, 0) == 1000


def test_a_candidate_that_stops_during_the_switch_leaves_the_old_revision_serving(serving, bundles, connect, until):
    client = connect()
    assert client.value(0, 0, 0, 0) == 1000
    serving.ask("prepare", activation=bundles.activation(2))
    (candidate,) = [worker for worker in serving.ask("tell")["workers"] if worker["state"] == "candidate"]
    os.kill(candidate["pid"], signal.SIGSTOP)
    killer = threading.Timer(1.0, os.kill, (candidate["pid"], signal.SIGKILL))
    killer.start()
    assert serving.ask("switch")["code"] == "DEPLOYMENT.PREFLIGHT"
    assert client.value(0, 0, 0, 0) == 1000
    until(lambda: [worker["revision"] for worker in serving.ask("tell")["workers"]] == [1], "one worker is left")


def test_a_supervisor_that_died_between_the_flip_and_the_switch_leaves_it_to_the_next_one(
    serving, bundles, connect, until
):
    client = connect()
    assert client.value(0, 0, 0, 0) == 1000
    serving.ask("prepare", activation=bundles.activation(2, trial=True))
    first = serving.ask("tell")["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: serving.ask("tell")["pid"] != first, "another supervisor")
    assert client.value(0, 0, 0, 0) == 1000
    serving.ask("ensure", activation=bundles.activation(2, trial=True))
    assert client.value(0, 0, 0, 0) == 2000


def test_a_gap_is_allowed_where_two_workers_do_not_fit(serving, bundles, connect):
    greedy = bundles.activation(2, trial=True, peak_memory_bytes=1 << 45)
    assert serving.ask("prepare", activation=greedy)["code"] == "DEPLOYMENT.MEMORY"
    assert connect().value(0, 0, 0, 0) == 1000
    serving.ask("prepare", activation=greedy, allow_gap=True)
    report = serving.ask("switch")
    assert (report["from_revision"], report["to_revision"]) == (1, 2)
    assert report["gap_ms"] > 0
    assert connect().value(0, 0, 0, 0) == 2000
    assert serving.ask("switch_back")["report"]["to_revision"] == 1
    assert connect().value(0, 0, 0, 0) == 1000


def test_a_switch_without_a_candidate_is_refused_and_a_way_back_without_a_previous_is_none(serving):
    assert serving.ask("switch")["code"] == "DEPLOYMENT.PREFLIGHT"
    assert serving.ask("switch_back")["report"] is None


def test_the_first_deployment_of_a_bundle_has_nothing_to_switch_from(workers, bundles, connect):
    workers.start()
    workers.ask("prepare", activation=bundles.activation(1, trial=True))
    report = workers.ask("switch")
    assert (report["from_revision"], report["to_revision"]) == (None, 1)
    assert connect().value(0, 0, 0, 0) == 1000


def test_the_launcher_goes_back_to_the_previous_revision_when_no_supervisor_keeps_the_deadline(
    serving, bundles, connect, until, frozen
):
    serving.ask("prepare", activation=bundles.activation(2, trial=True))
    serving.ask("switch")
    supervisor = serving.ask("tell")["pid"]
    deadline_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000 + 1_000_000
    serving.ask("arm", activation=bundles.activation(1), deadline_us=deadline_us)
    frozen(supervisor)
    until(lambda: connect().value(0, 0, 0, 0) == 1000, "revision 1 answers")
    until(lambda: serving.ask_once("tell")["pid"] != supervisor, "another supervisor")
    serving.ask("ensure", activation=bundles.activation(1))
    assert connect().value(0, 0, 0, 0) == 1000
    assert [worker["revision"] for worker in serving.ask("tell")["workers"]] == [1]
