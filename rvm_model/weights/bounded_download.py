"""Download a file of known size over HTTP. A server can neither fill the disk nor keep the command waiting."""

import time
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

_PART = 1 << 16
SLOWEST = 4096
"""Bytes that must come each second on average, so that a byte now and then is no progress. A modem had 7,000."""


class RefusedBody(Exception):
    """A body that is too long or too slow. The message is a part of a line for the user."""


@dataclass(frozen=True, kw_only=True)
class BoundedDownloader:
    """A downloader for `pooch.retrieve`, which keeps no file if it raises.

    Args:
        most_bytes: The file's size.
        timeout: Seconds to wait for a connection, and for the next bytes.
        progress: Show a bar.
    """

    most_bytes: int
    timeout: tuple[float, float]
    progress: bool

    def __call__(self, url: str, output_file: str, pooch: object) -> None:  # noqa: ARG002
        """Download the body of `url` into `output_file`.

        Raises:
            RefusedBody: more bytes than the file has, or fewer a second than `SLOWEST`.
            requests.RequestException: any other failure.
        """
        # Not compressed, so that the bytes counted are those that are written.
        plain = {"Accept-Encoding": "identity"}
        with requests.get(url, stream=True, timeout=self.timeout, headers=plain) as response:
            response.raise_for_status()
            try:
                self._read(response, Path(output_file))
            except urllib3.exceptions.ReadTimeoutError as error:
                raise requests.ReadTimeout(error) from error
            except urllib3.exceptions.HTTPError as error:
                raise requests.exceptions.ChunkedEncodingError(error) from error

    def _read(self, response: requests.Response, path: Path) -> None:
        start, received = time.monotonic(), 0
        bar = tqdm(total=self.most_bytes, disable=not self.progress, ncols=79, unit="B", unit_scale=True)
        with path.open("wb") as file, bar:
            # One system call each: a larger read would wait until all its bytes are there, however slowly they come.
            while part := response.raw.read1(_PART, decode_content=False):
                received += len(part)
                if received > self.most_bytes:
                    raise RefusedBody(f"it is larger than the {self.most_bytes} bytes that the file has")
                if time.monotonic() - start > self.timeout[1] + received / SLOWEST:
                    raise RefusedBody(f"it comes slower than {SLOWEST} bytes a second")
                file.write(part)
                bar.update(len(part))
