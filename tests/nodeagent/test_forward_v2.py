"""/v2 of the node: relayed to workers over real sockets, merged where it is about the node, honest without a worker."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from nodeagent.http.server import HttpServer, Request, Response
from nodeagent.serving.forward import Forwarder

MODELS = [("m", "3", "serving", ""), ("gone", "1", "backoff", "it crashed twice")]


def listen(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(64)
    return sock


async def worker_handler(request: Request) -> Response:
    """Answers as a worker: with what came, or late, or in error, or with statistics."""
    if request.path.endswith("/stats"):
        return Response(200, json.dumps({"model_stats": [{"name": "m"}]}).encode())
    if request.path.endswith("/large"):
        return Response(200, request.body * 2, lines=b"content-type: application/octet-stream\r\n")
    if request.path.endswith("/wrong"):
        return Response(422, b'{"error":"no"}')
    head = request.headers.get("inference-header-content-length", "-")
    return Response(200, json.dumps([request.method, request.path, head, request.body.decode("latin-1")]).encode())


class Node:
    """A worker's server, and the node's server that forwards to it."""

    def __init__(self, folder: Path) -> None:
        self.errors: list[BaseException] = []
        self.upstream: str | None = str(folder / "w")
        self.api = folder / "a"
        self.models, self.unsettled = MODELS, ""
        self.forwarder = Forwarder(
            lambda model: self.upstream if model == "m" and self.models else None,
            lambda: self.models,
            lambda: self.unsettled,
        )
        self.front = HttpServer(self.forwarder.handle, fast=self.forwarder.fast, report=self.errors.append)
        self.worker = HttpServer(worker_handler, report=self.errors.append, path_of_unreadable="/v2")

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        reader, writer = await asyncio.open_unix_connection(str(self.api))
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        out = await reader.read()
        writer.close()
        return int(out[9:12]), out.partition(b"\r\n\r\n")[2]


def forwarding(tmp_path: Path, body: Callable[[Node], Awaitable[None]]) -> None:
    async def main() -> None:
        node = Node(tmp_path)
        await node.worker.serve(listen(tmp_path / "w"))
        await node.front.serve(listen(node.api))
        try:
            await asyncio.wait_for(body(node), 30)
        finally:
            await node.front.close(drain_s=0.5)
            await node.forwarder.close()
            await node.worker.close(drain_s=0.5)
        assert not node.errors

    asyncio.run(main())


def test_a_request_and_its_answer_pass_unchanged(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        extra = "Inference-Header-Content-Length: 5\r\nCookie: a\r\n"
        status, got = await node.ask("POST", "/v2/models/m/infer?a=%20b", b"hello\0\xff", extra)
        assert (status, json.loads(got)) == (200, ["POST", "/v2/models/m/infer", "5", "hello\0\xff"])
        assert (await node.ask("GET", "/v2/models/m"))[0] == 200
        assert await node.ask("POST", "/v2/models/m/wrong") == (422, b'{"error":"no"}')
        assert await node.ask("HEAD", "/v2/models/m") == (200, b"")

    forwarding(tmp_path, body)


def test_large_bodies_pass_both_ways(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        data = bytes(range(256)) * 16_384
        status, got = await node.ask("POST", "/v2/models/m/large", data)
        assert status == 200
        assert got == data * 2

    forwarding(tmp_path, body)


def test_many_clients_share_one_connection_and_each_gets_its_own_answers(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        async def client(number: int) -> None:
            reader, writer = await asyncio.open_unix_connection(str(node.api))
            for n in range(30):
                text = f"{number}-{n}-{'x' * (n * number % 97)}"
                head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: n\r\nContent-Length: {len(text)}\r\n\r\n"
                writer.write((head + text).encode() * 2)
                for _ in range(2):
                    got = await reader.readuntil(b"\r\n\r\n")
                    length = int(got.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    assert json.loads(await reader.readexactly(length))[3] == text
            writer.close()

        await asyncio.gather(*(client(number) for number in range(1, 13)))
        assert node.worker.connections == 1

    forwarding(tmp_path, body)


def test_the_node_answers_for_itself_by_merging(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        assert json.loads((await node.ask("GET", "/v2"))[1])["name"] == "outstation"
        assert (await node.ask("GET", "/v2/health/live"))[0] == 200
        assert (await node.ask("GET", "/v2/health/ready"))[0] == 400  # one of the two has no worker
        assert json.loads((await node.ask("GET", "/v2/models"))[1]) == {"models": ["gone", "m"]}
        rows = json.loads((await node.ask("POST", "/v2/repository/index", b"{}"))[1])
        assert rows[0] == {"name": "m", "version": "3", "state": "READY", "reason": ""}
        assert rows[1] == {"name": "gone", "version": "1", "state": "UNAVAILABLE", "reason": "it crashed twice"}
        assert json.loads((await node.ask("GET", "/v2/models/stats"))[1]) == {"model_stats": [{"name": "m"}]}
        assert (await node.ask("POST", "/v2/repository/models/m/unload"))[0] == 400
        assert (await node.ask("GET", "/v2/nothing"))[0] == 404

    forwarding(tmp_path, body)


def test_a_model_without_a_worker_is_503_with_the_reason_after_a_second(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        status, got = await node.ask("POST", "/v2/models/gone/infer", b"{}")
        assert status == 503
        assert json.loads(got) == {"error": "model 'gone' has no worker: it crashed twice"}
        assert loop.time() - start_s > 0.9
        assert (await node.ask("POST", "/v2/models/nope/infer", b"{}"))[0] == 404

    forwarding(tmp_path, body)


def test_a_worker_that_comes_within_the_second_gets_the_request(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        path, node.upstream = node.upstream, None
        asking = asyncio.create_task(node.ask("POST", "/v2/models/m/infer", b"late"))
        await asyncio.sleep(0.1)
        node.upstream = path
        assert (await asking)[0] == 200

    forwarding(tmp_path, body)


def test_an_agent_that_does_not_know_its_models_yet_waits_and_says_so_instead_of_disowning_them(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        node.models, node.unsettled = [], "it has just started"
        asking = asyncio.create_task(node.ask("POST", "/v2/models/m/infer", b"early"))
        status, got = await node.ask("POST", "/v2/models/nope/infer", b"{}")
        assert (status, json.loads(got)) == (503, {"error": "model 'nope' has no worker yet: it has just started"})
        for method, path in (("GET", "/v2/models"), ("GET", "/v2/models/stats"), ("POST", "/v2/repository/index")):
            assert await node.ask(method, path) == (503, b'{"error":"it has just started"}')
        assert (await asking)[0] == 503
        asking = asyncio.create_task(node.ask("POST", "/v2/models/m/infer", b"in time"))
        await asyncio.sleep(0.05)
        node.models = MODELS[:1]
        assert (await asking)[0] == 200
        assert (await node.ask("GET", "/v2/health/ready"))[0] == 400
        node.unsettled = ""
        assert (await node.ask("GET", "/v2/health/ready"))[0] == 200
        assert (await node.ask("POST", "/v2/models/nope/infer", b"{}"))[0] == 404

    forwarding(tmp_path, body)


def test_a_worker_that_closes_in_good_order_loses_no_request(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        stop = asyncio.Event()

        async def client() -> int:
            count = 0
            while not stop.is_set():
                status, got = await node.ask("POST", "/v2/models/m/infer", b"%d" % count)
                assert (status, json.loads(got)[3]) == (200, str(count))
                count += 1
            return count

        clients = [asyncio.create_task(client()) for _ in range(6)]
        for number in range(4):
            await asyncio.sleep(0.05)
            following = HttpServer(worker_handler, report=node.errors.append)
            path = Path(f"{node.upstream}{number}")
            await following.serve(listen(path))
            old, node.worker, node.upstream = node.worker, following, str(path)
            for sock, leftover in await old.release():
                await following.adopt(sock, leftover)
            await old.close()
        stop.set()
        assert min(await asyncio.gather(*clients)) > 4

    forwarding(tmp_path, body)


def test_a_closing_worker_leaves_what_it_did_not_take_to_the_next_one(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        gate, taken = asyncio.Event(), list[str]()

        async def slow(request: Request) -> Response:
            taken.append(request.path)
            await gate.wait()
            return Response(200, b'"old"')

        old = HttpServer(slow, report=node.errors.append)
        await old.serve(listen(tmp_path / "old"))
        following, node.upstream = node.upstream, str(tmp_path / "old")
        asking = [asyncio.create_task(node.ask("POST", f"/v2/models/m/{n}", b"x")) for n in range(3)]
        for _ in range(1_000):
            if taken:
                break
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        node.upstream = following
        closing = asyncio.create_task(old.close())
        await asyncio.sleep(0.01)
        gate.set()
        answers = [json.loads(got) for _, got in await asyncio.gather(*asking)]
        await closing
        assert len(taken) == 1
        assert sorted(answer if answer == "old" else "new" for answer in answers) == ["new", "new", "old"]

    forwarding(tmp_path, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_worker_that_dies_or_babbles_is_503_and_the_request_is_not_sent_twice(tmp_path: Path, answer: bytes) -> None:
    async def body(node: Node) -> None:
        taken: list[bytes] = []

        async def bad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            writer.close()

        server = await asyncio.start_unix_server(bad, str(tmp_path / "bad"))
        node.upstream = str(tmp_path / "bad")
        status, got = await node.ask("POST", "/v2/models/m/infer", b"")
        assert (status, json.loads(got)) == (503, {"error": "the worker ended while it had this request"})
        assert len(taken) == 1
        server.close()

    forwarding(tmp_path, body)


def test_the_supervisors_side_loads_neither_numpy_nor_onnxruntime() -> None:
    modules = "nodeagent.http.server, nodeagent.serving.forward, nodeagent.model.onnx_walk"
    code = f"import sys, {modules}; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "nodeagent.serving.forward" in loaded
    for name in ("numpy", "onnxruntime", "sqlite_utils", "'httpx'"):
        assert name not in loaded
