"""A web server that serves only this machine, and only the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from rvm_model.errors import UserError
from tools.demo.site import HEADERS, Site

HOST = "127.0.0.1"
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
def listening(site: Site, port: int) -> Iterator[ThreadingHTTPServer]:
    """Yield a server of the page. The caller calls `serve_forever`.

    Args:
        site: The page.
        port: 0 for any free port.

    Raises:
        PortError: the port is in use, or not allowed.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "rvm-export", ""

        def do_GET(self) -> None:
            address = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
            content = site.get(address) if self._meant() else None
            if content is None:
                self._begin(HTTPStatus.NOT_FOUND, "text/plain", 0)
                return
            body = content if isinstance(content, bytes) else content.read_bytes()
            kind = TYPES.get(PurePosixPath(address).suffix, "application/octet-stream")
            self._begin(HTTPStatus.OK, kind, len(body))
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def _meant(self) -> bool:
            """Return whether the request names this machine as its host.

            A foreign page whose name resolves here gets nothing.
            """
            try:
                return urlsplit(f"//{self.headers.get('Host', '')}").hostname in (HOST, "localhost")
            except ValueError:  # an invalid host
                return False

        def _begin(self, status: HTTPStatus, kind: str, length: int) -> None:
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Ignore a browser that disconnects in the middle of an answer."""

    try:
        server = Server((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no port has such a number"
        raise PortError(f"--port {port}: {reason}; give another, or 0 for any that is free") from error
    with server:
        yield server
