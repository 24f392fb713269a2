"""The server of the demo against those who send half a request, foreign hosts, and shards that would be pages."""

import json
import socket
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from exporters.artifact import Artifact
from exporters.tfjs import MODEL
from tools.demo import serve, site
from tools.demo.serve import HOST, WORKERS, listening
from tools.demo.site import HEADERS, open_site, write_site
from tools.tests.test_demo import ask, running

PAGE = {"index.html": b"<!doctype html>the page", "models/0/0.bin": bytes(3 << 20)}
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@pytest.fixture
def server(tmp_path):
    with listening(PAGE, 0) as server, running(server):
        yield server


def connected(server) -> socket.socket:
    return socket.create_connection((HOST, server.server_port), timeout=30)


def threads() -> int:
    return sum("process_request_thread" in each.name for each in threading.enumerate())


def answer_to(server, request: bytes) -> bytes:
    """Return all that the server sends until it closes the connection."""
    with closing(connected(server)) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
        return answer


@pytest.mark.parametrize("count", [100, pytest.param(900, marks=pytest.mark.long)])
def test_half_open_requests_take_no_more_threads_than_there_are_workers(count, server):
    most = 0
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(closing(connected(server))).sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            most = max(most, threads())
        assert most <= WORKERS
        assert ask(server, "/")[1] == PAGE["index.html"], "a new request ends the one that has waited longest"
    deadline = time.monotonic() + 30
    while threads() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threads() == 0


def test_dripped_headers_keep_nobody_out(server):
    with ExitStack() as stack:
        dripping = [stack.enter_context(closing(connected(server))) for _ in range(WORKERS)]
        for part in (b"GET / HTTP/1.1\r\n", b"X: ", *[b"a"] * 20):
            for each in dripping:
                each.sendall(part)
        assert ask(server, "/")[1] == PAGE["index.html"]


def test_a_connection_that_says_nothing_is_closed(monkeypatch):
    monkeypatch.setattr(serve.Handler, "timeout", 0.3)
    with listening(PAGE, 0) as server, running(server), closing(connected(server)) as connection:
        connection.sendall(b"GET / HT")
        assert connection.recv(1) == b""


def test_an_answer_that_nobody_takes_is_given_up(monkeypatch):
    monkeypatch.setattr(serve.Handler, "timeout", 0.3)
    large = {"model": bytes(64 << 20)}
    with listening(large, 0) as server, running(server), closing(connected(server)) as connection:
        connection.sendall(GET.replace(b"/ ", b"/model ", 1))
        deadline = time.monotonic() + 30
        while not threads() and time.monotonic() < deadline:
            time.sleep(0.01)
        while threads() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threads() == 0


def test_an_answer_is_not_ended_for_a_new_connection(server):
    with ExitStack() as stack:
        busy = stack.enter_context(closing(connected(server)))
        busy.sendall(GET.replace(b"/ ", b"/models/0/0.bin ", 1))
        received = len(busy.recv(1 << 10))
        for _ in range(WORKERS + 1):
            stack.enter_context(closing(connected(server)))
        while part := busy.recv(1 << 20):
            received += len(part)
            if received > len(PAGE["models/0/0.bin"]):
                break
        assert received > len(PAGE["models/0/0.bin"])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501),
        (b"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
        (b"<script>alert(1)</script> / HTTP/1.1\r\n\r\n", 501),
    ],
)
def test_a_request_that_is_refused_gets_an_empty_answer_with_all_headers(request_, status, server):
    head, _, body = answer_to(server, request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body == b""
    assert all(f"{name}: {value}".encode() in head for name, value in HEADERS.items())
    assert b"script>" not in head


def test_the_body_of_a_request_is_not_taken_for_another_request(server):
    hidden = f"GET /models/0/0.bin HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    answer = answer_to(
        server, f"GET / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}".encode()
    )
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", "[::"]
)
def test_a_foreign_name_that_resolves_here_gets_nothing(host, server):
    assert ask(server, "/", host=host)[0].status == 404


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1"])
def test_the_names_of_this_machine_get_the_page(host, server):
    assert ask(server, "/", host=host)[0].status == 200


@pytest.fixture
def with_evil_shard(tmp_path, monkeypatch) -> Path:
    """Return a TensorFlow.js folder whose weights are called evil.html. It passes for a model that was inspected."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("evil.html", "evil.js", "good.bin"):
        (folder / name).write_text(f"<script>alert('{name}')</script>")
    groups = [{"paths": ["evil.html", "evil.js"], "weights": []}, {"paths": ["good.bin"], "weights": []}]
    (folder / MODEL).write_text(json.dumps({"weightsManifest": groups}))
    facts = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32", "refine": "auto"}
    artifact = Artifact(
        path=folder, format="tfjs", fixed=None, inputs=(), outputs=(), metadata={"producer": "\x1b"}, facts={}, **facts
    )
    monkeypatch.setattr(site, "_inspect", lambda _: artifact)
    monkeypatch.setattr(site, "_libraries", lambda _: {})
    return folder


def test_a_shard_called_evil_html_is_served_as_bytes(with_evil_shard):
    evil = (with_evil_shard / "evil.html").read_bytes()
    with open_site([with_evil_shard]) as page, listening(page, 0) as server, running(server):
        assert ask(server, "/models/0/evil.html")[0].status == 404
        model = json.loads(ask(server, f"/models/0/{MODEL}")[1])
        first, second = model["weightsManifest"][0]["paths"]
        assert (second, model["weightsManifest"][1]["paths"]) == ("1.bin", ["2.bin"])
        answer, body = ask(server, f"/models/0/{first}")
        assert (first, body) == ("0.bin", evil)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        (entry,) = json.loads(page["models.json"])
        assert entry["bytes"] == sum(
            len(c) if isinstance(c, bytes) else c.stat().st_size for a, c in page.items() if a.startswith("models/")
        )


def test_a_static_page_has_no_file_that_a_model_named(with_evil_shard, tmp_path):
    with open_site([with_evil_shard]) as page:
        write_site(page, tmp_path / "static")
    names = {path.name for path in (tmp_path / "static" / "models" / "0").iterdir()}
    assert MODEL in names
    assert {name.rpartition(".")[2] for name in names - {MODEL}} == {"bin"}
