"""The official checkpoint, from a loopback server with the failures of real servers."""

import hashlib
import os
import threading
import warnings
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from rvm_model import CheckpointError, load_checkpoint
from rvm_model.weights import checkpoint
from rvm_model.weights.checkpoint import DownloadError, download

STALL = threading.Event()

# requests leaves the socket of an interrupted response to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")


class Release(BaseHTTPRequestHandler):
    """A server of `content` under /good, and of failures under other paths."""

    content = b""
    requests: list[str] = []
    sent = 0
    """Bytes of endless answers."""

    def do_GET(self):
        type(self).requests.append(self.path)
        kind = self.path.split("/")[1]
        if kind == "missing":
            self.send_error(404)
        elif kind == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path.replace("redirect", "good"))
            self.end_headers()
        elif kind == "wrong":
            self.reply(b"wrong" + self.content[5:], len(self.content))
        elif kind == "truncated":
            self.reply(self.content[:-100], len(self.content))
        elif kind in ("endless", "endless-chunks"):
            self.send_response(200)
            if kind == "endless-chunks":
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            part = bytes(1 << 20)
            with suppress(OSError):  # the client has had enough
                while True:
                    self.wfile.write(b"100000\r\n%s\r\n" % part if kind == "endless-chunks" else part)
                    type(self).sent += len(part)
        elif kind == "dripping":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.content)))
            self.end_headers()
            with suppress(OSError):
                while not STALL.wait(0.1):
                    self.wfile.write(b"x")
        elif kind == "stalled":
            self.reply(self.content[:1000], len(self.content))
            self.wfile.flush()
            STALL.wait(30)
        else:
            self.reply(self.content, len(self.content))

    def reply(self, content, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("release") / "weights.pth"
    torch.save(dict(load_checkpoint("seeded").state_dict), path)
    return path.read_bytes()


@pytest.fixture
def server(content, monkeypatch):
    """Serve a release whose MobileNetV3 checkpoint is the seeded one."""
    Release.content, Release.requests, Release.sent = content, [], 0
    name, *_ = checkpoint.RELEASED["mobilenetv3"]
    monkeypatch.setitem(checkpoint.RELEASED, "mobilenetv3", (name, hashlib.sha256(content).hexdigest(), len(content)))
    STALL.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Release) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        STALL.set()
        server.shutdown()


@pytest.mark.parametrize("kind", ["good", "redirect"])
def test_a_good_download_is_kept_and_not_repeated(kind, server, content, tmp_path, capfd):
    path = download("mobilenetv3", tmp_path, f"{server}/{kind}")
    assert path.read_bytes() == content
    assert "100%" in capfd.readouterr().err
    asked = len(Release.requests)
    assert download("mobilenetv3", tmp_path, f"{server}/{kind}") == path
    assert len(Release.requests) == asked


def test_a_damaged_cache_is_downloaded_again(server, content, tmp_path):
    path = download("mobilenetv3", tmp_path, f"{server}/good")
    path.write_bytes(content[:1000])
    assert download("mobilenetv3", tmp_path, f"{server}/good").read_bytes() == content


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("missing", "HTTP 404"),
        ("wrong", "sha256 is not"),
        ("truncated", "broke off"),
        ("stalled", "nothing came for 0.5 s"),
        ("dripping", "it comes slower than 4096 bytes a second"),
        ("endless", "it is larger than the .* bytes that the file has"),
        ("endless-chunks", "it is larger than the .* bytes that the file has"),
    ],
)
def test_a_bad_download_is_said_and_not_kept(kind, why, server, tmp_path):
    with pytest.raises(DownloadError, match=why) as caught:
        download("mobilenetv3", tmp_path, f"{server}/{kind}", timeout=(1, 0.5))
    assert "\n" not in str(caught.value)
    assert [*tmp_path.iterdir()] == []
    assert Release.sent < len(Release.content) + (16 << 20), "the socket's buffers, and no more"


@pytest.mark.parametrize("url", ["foo", "http://", "gopher://127.0.0.1"])
def test_an_address_that_is_none(url, tmp_path):
    with pytest.raises(DownloadError, match="cannot download"):
        download("mobilenetv3", tmp_path, url)


def test_no_server_is_said(tmp_path):
    with pytest.raises(DownloadError, match="cannot be reached"):
        download("mobilenetv3", tmp_path, "http://127.0.0.1:9/release", timeout=(1, 1))


@pytest.mark.timeout(60)
def test_a_pipe_in_the_cache_is_not_waited_for(server, tmp_path):
    os.mkfifo(tmp_path / checkpoint.RELEASED["mobilenetv3"][0])
    with pytest.raises(CheckpointError, match="in the cache: it is no regular file"):
        download("mobilenetv3", tmp_path, f"{server}/good")


def test_a_cache_that_cannot_be_written_is_said(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cache"):
        download("mobilenetv3", tmp_path / "file", f"{server}/good")


@pytest.fixture
def release(monkeypatch, tmp_path):
    """Point `official` at a release of our own, with a cache of its own."""

    def point(url):
        monkeypatch.setenv("RVM_RELEASE_URL", url)
        monkeypatch.setattr(checkpoint.pooch, "os_cache", lambda _: tmp_path / "cache")

    return point


def test_official_is_the_release(server, release):
    release(f"{server}/good")
    official = load_checkpoint("official")
    assert (official.origin, official.seeded) == ("official", False)
    assert official.sha256 == checkpoint.RELEASED["mobilenetv3"][1]


def test_official_serves_the_fast_guided_filter_too(server, release):
    release(f"{server}/good")
    assert load_checkpoint("official", refiner="fast_guided_filter").network()


def test_auto_takes_the_release_silently(server, release):
    release(f"{server}/good")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_checkpoint("auto").origin == "official"


def test_auto_falls_back_loudly(server, release):
    release(f"{server}/missing")
    with pytest.warns(UserWarning, match="SEEDED"):
        assert load_checkpoint("auto").seeded


@pytest.mark.parametrize("progress", [True, False])
def test_the_hub_has_the_release(progress, server, release, capfd):
    release(f"{server}/good")
    root = Path(__file__).resolve().parents[2]
    network = torch.hub.load(root, "mobilenetv3", source="local", progress=progress)
    weights = load_checkpoint("seeded").state_dict  # which is what this release holds
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert ("100%" in capfd.readouterr().err) == progress
