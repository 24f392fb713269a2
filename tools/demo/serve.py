"""A web server that serves only this machine, and only the page."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import PurePosixPath
from threading import BoundedSemaphore, Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from rvm_model.errors import UserError
from tools.demo.site import HEADERS, Site

HOST = "127.0.0.1"
WORKERS = 32
"""Connections that are open at a time, a thread each. A browser opens six for a page."""

IDLE_SECONDS = 15
"""Time in which the next bytes of a request must come, and the next part of an answer must be taken."""

_PART = 1 << 16
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


class PortError(UserError):
    """A port that cannot be listened on. The message is one line for the user."""


@contextmanager
def listening(site: Site, port: int) -> Iterator["Server"]:
    """Yield a server of the page. The caller calls `serve_forever`.

    Args:
        site: The page.
        port: 0 for any free port.

    Raises:
        PortError: the port is in use, or not allowed.
    """
    try:
        server = Server(site, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no port has such a number"
        raise PortError(f"--port {port}: {reason}; give another, or 0 for any that is free") from error
    with server:
        yield server


class Server(ThreadingHTTPServer):
    """A server of `WORKERS` connections at most. One more ends the one that has waited longest for its request."""

    daemon_threads = True

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self._free = BoundedSemaphore(WORKERS)
        self._waiting: dict[socket.socket, None] = {}  # the longest first
        self._lock = Lock()
        super().__init__((HOST, port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread, or close it if all threads are busy with answers."""
        if not self._free.acquire(blocking=False):
            self._end_longest_waiting()
            if not self._free.acquire(timeout=1):
                self.shutdown_request(request)
                return
        try:
            super().process_request(request, client_address)
        except BaseException:  # such as no more threads
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: object) -> None:
        """Ignore a browser that disconnects in the middle of an answer."""

    def begin_waiting(self, connection: socket.socket) -> None:
        """Mark a connection as one that waits for its request, and may be ended for another."""
        with self._lock:
            self._waiting[connection] = None

    def end_waiting(self, connection: socket.socket) -> None:
        with self._lock:
            self._waiting.pop(connection, None)

    def _end_longest_waiting(self) -> None:
        with self._lock:
            connection = next(iter(self._waiting), None)
            if connection is not None:
                del self._waiting[connection]
                with suppress(OSError):  # its client has ended it in this moment
                    connection.shutdown(socket.SHUT_RDWR)  # its thread then reads the end of the request


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with the page's files. The limits of a request's lines and headers are `http.server`'s."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "rvm-export", ""
    timeout = IDLE_SECONDS

    def handle_one_request(self) -> None:
        self.server.begin_waiting(self.connection)
        try:
            super().handle_one_request()
        finally:
            self.server.end_waiting(self.connection)

    def parse_request(self) -> bool:
        understood = super().parse_request()
        self.server.end_waiting(self.connection)
        if not understood:
            return False
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # nothing here has a body, and it would be taken for the next request
        return True

    def do_GET(self) -> None:
        address = self._address()
        content = self.server.site.get(address)
        if content is None:
            self._begin(HTTPStatus.NOT_FOUND, "text/plain", 0)
            return
        kind = TYPES.get(PurePosixPath(address).suffix, "application/octet-stream")
        with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as body:
            length = body.seek(0, 2)
            body.seek(0)
            self._begin(HTTPStatus.OK, kind, length)
            if self.command == "GET":
                shutil.copyfileobj(body, self.wfile, _PART)

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer a request that is not understood without repeating any of it, and end the connection."""
        self.close_connection = True
        self._begin(HTTPStatus(code), "text/plain", 0)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _address(self) -> str:
        """Return the address that the request asks for; empty, which none is, unless it names this machine as its host.

        A foreign page whose name resolves here gets nothing.
        """
        try:
            if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in (HOST, "localhost"):
                return ""
            return unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        except ValueError:  # an invalid host or address
            return ""

    def _begin(self, status: HTTPStatus, kind: str, length: int) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-cache")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
