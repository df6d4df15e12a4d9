"""Outcomes by POST to a server that is not ours, with the answers that servers give."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nodeagent.pipeline.options import Seconds
from nodeagent.sinks.http import Http, HttpOptions
from store.outbox import Outbox


class Mes:
    """A server that keeps what it accepts. `answers`: what it says next, 204 when there is nothing more."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: list[int | str] = []
        self.bodies: list[list[dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.refuses: Callable[[dict[str, Any]], bool] = lambda item: False
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        mes = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = mes.answers.pop(0) if mes.answers else 204
                if answer == "lost":
                    mes.bodies.append(body)
                    self.close_connection = True
                    return
                status = 422 if any(mes.refuses(item) for item in body) else int(answer)
                if status < 300:
                    mes.bodies.append(body)
                    mes.headers.append(dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return None

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def items(self) -> list[dict[str, Any]]:
        return [item for body in self.bodies for item in body]


@pytest.fixture
def mes() -> Iterator[Mes]:
    server = Mes()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sink_of(mes: Mes, context_of: Any) -> Callable[..., Http]:
    def make(**options: Any) -> Http:
        plain = {"url": f"http://127.0.0.1:{mes.port}/hook?line=3", "timeout": Seconds(1.0)}
        return Http(HttpOptions(**(plain | options)), context_of())

    return make


def test_outcomes_arrive_with_who_made_them_their_number_and_the_nodes_secret(mes, sink_of, outcome_of, until) -> None:
    async def scenario() -> None:
        sink = sink_of(headers={"Authorization": "Bearer CANARY"})
        await sink.start()
        sink.offer(outcome_of("alarm", 4.5))
        await until(lambda: mes.items(), "it arrives")
        await until(lambda: not sink.telemetry().waiting, "the outbox is empty")
        assert (sink.telemetry().state, sink.telemetry().delivered_total) == ("up", 1)
        assert "CANARY" not in repr(sink_of(headers={"Authorization": "CANARY"})._options)
        await sink.close()

    asyncio.run(scenario())
    (item,) = mes.items()
    assert (item["decision"], item["score"], item["node"], item["quality"]) == ("alarm", 4.5, "node-7", "Good")
    assert item["seq"] == 1
    assert mes.headers[0]["Authorization"] == "Bearer CANARY"


def test_nothing_is_lost_while_the_server_is_away_and_a_new_worker_goes_on(mes, sink_of, outcome_of, until) -> None:
    mes.stop()

    async def away() -> None:
        sink = sink_of()
        await sink.start()
        for number in range(50):
            sink.offer(outcome_of(wall_us=number))
        await until(lambda: sink.telemetry().waiting == 50 and sink.telemetry().reason, "they wait")
        await sink.close()

    async def back() -> None:
        sink = sink_of(replay_per_s=1000.0)
        await sink.start()
        sink.offer(outcome_of(wall_us=50))
        await until(lambda: not sink.telemetry().waiting and len(mes.items()) == 51, "all arrive")
        await sink.close()

    asyncio.run(away())
    mes.start()
    asyncio.run(back())
    assert sorted(item["wall_us"] for item in mes.items()) == list(range(51))
    assert {item["wall_us"] for item in mes.items() if not item.get("late")} == {50}


@pytest.mark.parametrize("answer", [503, 429, 401, 301, "lost"])
def test_an_answer_that_is_no_yes_is_asked_for_again(mes, sink_of, outcome_of, until, answer: Any) -> None:
    mes.answers = [answer]

    async def scenario() -> None:
        sink = sink_of()
        await sink.start()
        sink.offer(outcome_of())
        await until(lambda: sink.telemetry().delivered_total == 1, "it arrives")
        assert (sink.telemetry().dropped_total, sink.telemetry().waiting) == (0, 0)
        await sink.close()

    asyncio.run(scenario())
    assert {item["seq"] for item in mes.items()} == {1}


def test_what_the_server_calls_wrong_goes_aside_and_the_others_get_past_it(
    mes, sink_of, context_of, outcome_of, until
) -> None:
    mes.stop()
    mes.refuses = lambda item: item["wall_us"] == 3

    async def scenario() -> None:
        sink = sink_of()
        await sink.start()
        for number in range(6):
            sink.offer(outcome_of(wall_us=number))
        await until(lambda: sink.telemetry().waiting == 6, "they wait")
        mes.start()
        await until(lambda: not sink.telemetry().waiting, "they leave")
        assert (sink.telemetry().delivered_total, sink.telemetry().dropped_total) == (5, 1)
        await sink.close()

    asyncio.run(scenario())
    assert [item["wall_us"] for item in mes.items()] == [0, 1, 2, 4, 5]
    context = context_of()
    outbox = Outbox(
        context.work_dir / "outbox.db",
        f"http http://127.0.0.1:{mes.port}/hook?line=3",
        bytes_max=1 << 20,
        age_s_max=1e6,
        boot_id=context.clock.boot_id(),
        boottime_us=context.clock.boottime_us,
    )
    ((stored, reason),) = outbox.rejected()
    outbox.close()
    assert (stored.seq, reason) == (4, "answers 422 Unprocessable Entity")


def test_only_what_was_asked_for_leaves(mes, sink_of, outcome_of, until) -> None:
    async def scenario() -> None:
        sink = sink_of(when="changes")
        await sink.start()
        for decision in ("normal", "normal", "alarm", "alarm", "normal"):
            sink.offer(outcome_of(decision))
        await until(lambda: len(mes.items()) == 3, "the changes arrive")
        await sink.close()

    asyncio.run(scenario())
    assert [item["decision"] for item in mes.items()] == ["normal", "alarm", "normal"]


@pytest.mark.parametrize("url", ["ftp://a/b", "http://", "http://a:b@c/", "http://a/#b", "http://a:0/"])
def test_an_address_that_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        HttpOptions(url=url)
