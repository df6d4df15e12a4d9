"""Answers of an agent as bytes: cut anywhere they read the same; what two readers could read in two ways is refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from console.link.channel import Channel
from console.link.errors import LinkError
from console.link.http import HEAD_BYTES_MAX, NotHttp, body_of, read_head, request_head
from console.link.transport import CONNECTIONS_MAX, KEPT_ALIVE_MAX, READ_BYTES, HttpOverChannels
from console.view import LinkState


def read(raw: bytes, *cuts: int) -> tuple[int, bytes, bool]:
    """Status, body, and whether it was whole, of an answer that arrives in pieces."""
    ends = [*sorted(cuts), len(raw)]
    pieces = [raw[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    buffer, found = b"", None
    while found is None and pieces:
        buffer += pieces.pop(0)
        found = read_head(buffer)
    assert found is not None
    head, rest = found
    body = body_of(head)
    payload = body.feed(rest) if rest else b""
    for piece in pieces:
        payload += body.feed(piece)
    return head.status, payload, body.done


FIXED = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 \r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3\r\nhel\r\n2;name=value\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)


@pytest.mark.parametrize(("raw", "status"), [(FIXED, 200), (CHUNKED, 206)])
def test_an_answer_reads_the_same_wherever_it_is_cut(raw: bytes, status: int) -> None:
    chance = random.Random(7)
    for cut in range(1, len(raw)):
        assert read(raw, cut) == (status, b"hello", True)
    for _ in range(200):
        assert read(raw, *chance.sample(range(1, len(raw)), 5)) == (status, b"hello", True)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Content-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES_MAX,
        b"HTTP/1.1 100 Continue\r\n\r\n" * (HEAD_BYTES_MAX // 20),
    ],
)
def test_a_head_of_which_two_readers_could_make_two_things_is_refused(head: bytes) -> None:
    with pytest.raises(NotHttp):
        read_head(head)


@pytest.mark.parametrize(
    "body", [b"x\r\nhello\r\n", b"5\r\nhellolo\r\n", b"-5\r\nhello", b"\r\n", b"0\r\n\r\nmore", b"5" * 5_000]
)
def test_a_body_that_is_not_in_the_chunks_it_announced_is_refused(body: bytes) -> None:
    with pytest.raises(NotHttp):
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)


def test_bytes_behind_the_end_of_an_answer_are_refused_and_not_kept_for_the_next_one() -> None:
    with pytest.raises(NotHttp, match="behind its end"):
        read(FIXED + b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: 1", "no-slash", "/é", ""])
def test_a_target_that_would_end_its_line_is_never_sent(target: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a request"):
        request_head("GET", target, {}, 0)


def test_a_header_that_would_end_its_line_is_never_sent() -> None:
    with pytest.raises(ValueError, match="no line end"):
        request_head("GET", "/", {"X-Operator": "alice\r\nX-Role: operate"}, 0)


# -- channels


class Far:
    """Channels whose far end is written by the test: what was sent, and `say` for what comes back."""

    def __init__(self) -> None:
        self.opened: list[FarChannel] = []

    async def open(self) -> Channel:
        channel = Channel()
        self.opened.append(FarChannel(channel))
        channel.attach(self.opened[-1])
        return channel


class FarChannel:
    def __init__(self, channel: Channel) -> None:
        self.channel, self.sent, self.aborted, self.answer = channel, b"", False, b""
        self.answer_after = -1

    def write(self, data: bytes) -> None:
        self.sent += data
        if self.answer and len(self.sent) > self.answer_after:
            self.channel.feed(self.answer)
            self.answer = b""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...
    def abort(self) -> None:
        self.aborted = True


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_no_more_channels_are_open_at_once_than_the_limit_and_two_are_kept() -> None:
    async def run() -> None:
        far = Far()
        http = HttpOverChannels("press-07", far.open)
        tasks = [asyncio.create_task(http.request("GET", "/", timeout_s=5)) for _ in range(CONNECTIONS_MAX + 3)]
        await settle()
        assert len(far.opened) == CONNECTIONS_MAX
        while not all(task.done() for task in tasks):
            for each in far.opened:
                if each.sent:
                    each.sent = b""
                    each.channel.feed(OK)
            await settle()
        assert [answer.body for answer in await asyncio.gather(*tasks)] == [b"ok"] * (CONNECTIONS_MAX + 3)
        assert sum(not each.aborted for each in far.opened) == KEPT_ALIVE_MAX
        await http.aclose()
        assert all(each.aborted for each in far.opened)

    asyncio.run(run())


def test_a_channel_whose_answer_was_not_read_to_its_end_is_closed() -> None:
    async def run() -> None:
        far = Far()
        http = HttpOverChannels("press-07", far.open)
        task = asyncio.create_task(http.request("GET", "/", timeout_s=5))
        await settle()
        far.opened[0].channel.feed(OK[:-1])
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert far.opened[0].aborted

    asyncio.run(run())


def test_an_agent_that_answers_before_it_has_the_whole_body_is_heard_and_sent_no_more() -> None:
    async def run() -> None:
        far = Far()

        async def open_refusing() -> Channel:
            channel = await far.open()
            far.opened[-1].answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
            far.opened[-1].answer_after = READ_BYTES
            return channel

        http = HttpOverChannels("press-07", open_refusing)

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"x" * READ_BYTES

        answer = await http.request("PUT", "/blobs/x", body=pieces(), timeout_s=5)
        assert answer.status == 413
        assert len(far.opened[0].sent) < 3 * READ_BYTES
        assert far.opened[0].aborted

    asyncio.run(run())


def test_a_file_that_cannot_be_read_is_not_taken_for_a_broken_link() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise OSError(5, "Input/output error")

    async def run() -> None:
        far = Far()
        with pytest.raises(OSError, match="Input/output error"):
            await HttpOverChannels("press-07", far.open).request("PUT", "/blobs/x", body=pieces(), timeout_s=5)
        assert far.opened[0].aborted

    asyncio.run(run())


def test_a_body_in_pieces_arrives_whole() -> None:
    async def run() -> None:
        far = Far()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"hel"
            yield b""
            yield b"lo"

        task = asyncio.create_task(HttpOverChannels("n", far.open).request("PUT", "/b", body=pieces(), timeout_s=5))
        await settle()
        assert far.opened[0].sent.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
        far.opened[0].channel.feed(OK)
        assert (await task).status == 200

    asyncio.run(run())


def test_a_link_that_breaks_says_so_and_not_that_the_agent_closed() -> None:
    async def run() -> None:
        far = Far()
        task = asyncio.create_task(HttpOverChannels("press-07", far.open).request("GET", "/status", timeout_s=5))
        await settle()
        far.opened[0].channel.lose(OSError("Server not responding to keepalive"))
        with pytest.raises(LinkError, match="the connection broke") as caught:
            await task
        assert caught.value.state is LinkState.DOWN
        assert "keepalive" in str(caught.value.__cause__)

    asyncio.run(run())
