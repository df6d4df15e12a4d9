"""Workers are kept serving: bad models cost themselves alone, and a supervisor's death costs nothing."""

import os
import signal

import pytest

GIB = 1 << 30


@pytest.fixture
def serving(workers, bundles, until):
    """Revision 1 serves."""
    workers.start()
    workers.ask("ensure", activation=bundles.activation(1))
    until(lambda: state_of(workers) == "serving", "revision 1 serves")
    return workers


def told(node):
    return node.ask("tell")


def figures(node, bundle: str = "press"):
    return next((each for each in told(node)["telemetry"] if each["bundle"] == bundle), None)


def state_of(node, bundle: str = "press") -> str:
    now = figures(node, bundle)
    return now["state"] if now else ""


def active(node):
    return next((worker for worker in told(node)["workers"] if worker["state"] == "active"), None)


def test_a_worker_answers_on_its_own_socket_and_on_the_nodes(serving, connect):
    assert connect().value(1, 2, 3, 4) == 1010
    assert connect("agent").value(1, 2, 3, 4) == 1010


def test_i8_a_worker_that_dies_is_replaced_and_the_connection_that_waits_is_answered(serving, connect, until):
    first = active(serving)
    os.kill(first["pid"], signal.SIGSEGV)
    until(lambda: first["pid"] not in [worker["pid"] for worker in told(serving)["workers"]], "the death is seen")
    until(lambda: connect().infer(1, 1, 1, 1)[0] == 200, "another worker answers")
    after = told(serving)
    assert after["telemetry"][0]["restarts_total"] == 1
    assert after["pid"] in [child.pid for child in serving.launcher.children()]


def test_events_tell_that_a_worker_ended_and_served_again(serving, until):
    told(serving)
    os.kill(active(serving)["pid"], signal.SIGKILL)
    seen = []
    until(lambda: seen.extend(told(serving)["events"]) or len(seen) >= 2, "two events")
    assert [(event["kind"], event["revision"]) for event in seen] == [("exited", 1), ("serving", 1)]
    assert "SIGKILL" in seen[0]["text"]


def test_a_worker_goes_on_without_a_supervisor_and_the_next_one_adopts_it(serving, connect, until, bundles):
    client, worker, first = connect(), active(serving)["pid"], told(serving)["pid"]
    os.kill(first, signal.SIGKILL)
    assert client.value(1, 1, 1, 1) == 1004
    until(lambda: told(serving)["pid"] != first, "another supervisor")
    assert client.value(2, 1, 1, 1) == 1005
    serving.ask("ensure", activation=bundles.activation(1))
    assert active(serving)["pid"] == worker
    assert client.value(3, 1, 1, 1) == 1006


def test_a_stopped_worker_misses_its_heartbeat_and_is_replaced(serving, frozen, until, connect):
    first = active(serving)["pid"]
    frozen(first)
    until(lambda: (worker := active(serving)) and worker["pid"] != first, "another worker")
    assert connect().value(1, 1, 1, 1) == 1004


def test_i8_a_model_that_never_ends_costs_its_worker_and_not_the_agent(workers, bundles, connect, until):
    workers.start()
    workers.ask("ensure", activation=bundles.activation(1, model="loop"))
    until(lambda: state_of(workers) == "serving", "it serves")
    supervisor, worker = told(workers)["pid"], active(workers)["pid"]
    endless = connect()
    status, _ = endless.infer(1, 1, 1, 1)
    assert status == 200
    with pytest.raises(OSError, match="closed without an answer"):
        endless.infer(101, 1, 1, 1)
    until(lambda: (now := active(workers)) and now["pid"] != worker, "another worker")
    assert connect().value(1, 1, 1, 1) == 1004
    assert told(workers)["pid"] == supervisor


def test_i8_a_model_that_allocates_without_end_gets_an_error_and_the_worker_lives(workers, bundles, connect, until):
    workers.start()
    workers.ask("ensure", activation=bundles.activation(1, model="bomb"))
    until(lambda: state_of(workers) == "serving", "it serves")
    worker = active(workers)["pid"]
    client = connect()
    assert client.value(4, 0, 0, 0) == 1004
    status, answer = client.infer(16 * GIB, 0, 0, 0)
    assert status == 500, answer
    assert client.value(4, 0, 0, 0) == 1004
    assert active(workers)["pid"] == worker


def test_i8_the_worker_of_another_bundle_answers_on_through_crashes_bombs_and_loops(workers, bundles, connect, until):
    workers.start()
    folders = {name: str(bundles.state / name / "lathe") for name in ("records_dir", "work_dir")}
    workers.ask("ensure", activation=bundles.activation(1) | {"bundle": "lathe", "model": "lathe"} | folders)
    workers.ask("ensure", activation=bundles.activation(1, model="loop"))
    until(lambda: state_of(workers, "press") == "serving", "the bad one serves too")
    supervisor, neighbour = told(workers)["pid"], pid_of_neighbour(workers)
    client, answers = connect("m-lathe"), []

    def costs_its_worker(harm) -> None:
        bad = next(worker["pid"] for worker in told(workers)["workers"] if worker["pid"] != neighbour)
        harm(bad)
        until(
            lambda: (
                answers.append(client.value(len(answers), 1, 1, 1, model="lathe"))
                or state_of(workers, "press") != "serving"
            ),
            "the bad one ends",
        )
        until(lambda: state_of(workers, "press") == "serving", "the bad one comes back")
        assert len(told(workers)["workers"]) == 2

    costs_its_worker(lambda pid: os.kill(pid, signal.SIGSEGV))
    costs_its_worker(lambda _: connect().ask_only(101, 1, 1, 1))
    workers.ask("ensure", activation=bundles.activation(2, model="bomb"))
    assert connect().infer(16 * GIB, 0, 0, 0)[0] == 500
    answers.append(client.value(len(answers), 1, 1, 1, model="lathe"))
    assert answers == [1003 + number for number in range(len(answers))]
    assert (told(workers)["pid"], pid_of_neighbour(workers)) == (supervisor, neighbour)
    assert figures(workers, "lathe")["restarts_total"] == 0


def pid_of_neighbour(node) -> int:
    return next(worker["pid"] for worker in told(node)["workers"] if worker["bundle"] == "lathe")


def test_a_bundle_whose_worker_cannot_start_answers_503_with_the_reason(workers, bundles, connect, until):
    workers.start()
    broken = bundles.activation(1)
    with open(broken["model_path"], "wb") as file:
        file.write(b"no model at all")
    workers.ask("ensure", activation=broken)
    assert state_of(workers) == "backoff"
    answer = until(lambda: (got := connect().infer(1, 1, 1, 1))[0] == 503 and got[1], "503")
    assert "ModelRefused" in str(answer)
    assert "ModelRefused" in told(workers)["telemetry"][0]["reason"]


def test_a_stopped_bundle_serves_no_more_and_is_not_brought_back(serving, until, connect):
    serving.ask("stop", safe=True)
    assert connect().infer(1, 1, 1, 1) == (503, {"error": "press is stopped"})
    assert state_of(serving) == "stopped"
    assert told(serving)["workers"] == []
    status, answer = connect("agent").infer(1, 1, 1, 1)
    assert status == 503, answer


def test_a_worker_is_known_as_one_and_the_supervisor_is_not(serving):
    now = told(serving)
    assert now["are_workers"] == [True]


def test_everything_killed_at_once_serves_again_from_the_start(serving, bundles, connect, until):
    serving.end()
    serving.start()
    serving.ask("ensure", activation=bundles.activation(1))
    assert connect().value(1, 1, 1, 1) == 1004


def test_every_prediction_over_http_becomes_a_record(serving, connect, until):
    client = connect()
    for number in range(20):
        client.value(number, 1, 1, 1)
    figures = until(
        lambda: (now := told(serving)["telemetry"][0])["records_total"] == 20 and now, "twenty records are committed"
    )
    assert figures["predictions_total"] == 20
    assert figures["records_lost_total"] == 0
    assert figures["latency_ms_p95"] > 0
    assert sum(count for _, count in figures["latency_histogram_ms"]) == 20


def test_a_wrong_request_is_a_reject_and_no_error(serving, connect, until):
    client = connect()
    body = b'{"inputs": []}'
    client.sock.sendall(
        b"POST /v2/models/press/infer HTTP/1.1\r\nhost: n\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    assert client.answer()[0] == 400
    figures = until(lambda: (now := told(serving)["telemetry"][0])["rejects_total"] and now, "the reject is counted")
    assert figures["errors_total"] == 0
