"""A file run by a program of its own, one process for each clip, which ends with it.

The program is told the file's place, and then answers one frame after the other. A message, either way, is a line of
JSON and then the bytes of its tensors in order:

    {"outputs": ["pha"], "tensors": [{"name": "src", "dtype": "float32", "shape": [1, 3, 360, 640]}]}

A request says which outputs it wants. The first answer, before any request, has no tensors and says that the file is
loaded; one with an "error" is the last. What crashes or hangs there is an error here.
"""

import json
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Timer
from typing import IO, Any

import numpy as np

from exporters.runtime import Arrays, Run
from exporters.spec import Artifact, ArtifactError

ANSWER_SECONDS = 300
"""For loading the file, and for each frame. A 4K frame at ratio 1 took 25 in WebAssembly, on a busy core."""

ENDING_SECONDS = 10
"""For a program that is asked to end, to end what it has started itself."""


@contextmanager
def running(command: Sequence[str | Path], artifact: Artifact, runtime: str) -> Iterator[Run]:
    """Start `command`, and give what runs a frame; the process is gone afterwards, whatever happened.

    Args:
        command: The program and its arguments; SIGTERM must end it, and whatever it started.
        artifact: The file that it runs; all its outputs are asked for.
        runtime: Its name, for messages.

    Raises:
        ArtifactError: it refuses the file, crashes or gives no answer; then, or later when a frame is run.
    """
    with (
        tempfile.TemporaryFile() as said,
        Popen(  # noqa: S603
            command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=said,
            bufsize=0,
            process_group=0,  # Ctrl-C is for us, who then end it
        ) as process,
    ):
        try:
            conversation = _Conversation(process, said, artifact, runtime)
            with conversation.bounded():
                conversation.receive()
            yield conversation.run
        finally:
            _end(process)


class _Conversation:
    def __init__(self, process: Popen[bytes], said: IO[bytes], artifact: Artifact, runtime: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.requests, self.answers = process, process.stdin, process.stdout
        self.said, self.artifact, self.runtime = said, artifact, runtime

    def run(self, feeds: Arrays) -> Arrays:
        with self.bounded():
            with suppress(BrokenPipeError):  # then its last answer says why, if it gave one
                self._send(feeds)
            return self.receive()

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Whatever blocks in here goes on with a process that was killed, when the time is up."""
        late = False

        def stop() -> None:
            nonlocal late
            late = True
            _end(self.process)

        watchdog = Timer(ANSWER_SECONDS, stop)
        watchdog.daemon = True  # Ctrl-C may come while it starts, and would wait for it
        try:
            watchdog.start()
            yield
        except EOFError as error:
            code = self.process.wait()
            why = f"gave no answer within {ANSWER_SECONDS} seconds" if late else f"ended {_ending(code)}{self._words()}"
            raise ArtifactError(f"{self.artifact.path} does not run: the process of {self.runtime} {why}") from error
        finally:
            watchdog.cancel()

    def receive(self) -> Arrays:
        line = self._line()
        try:
            header = json.loads(line)
        except ValueError as error:  # native code that writes to stdout as it dies
            raise ArtifactError(
                f"{self.artifact.path} does not run: the process of {self.runtime} said {line[:100]!r}"
            ) from error
        if "error" in header:
            raise ArtifactError(f"{self.artifact.path} does not run in {self.runtime}: {header['error']}")
        return {tensor["name"]: self._array(**tensor) for tensor in header["tensors"]}

    def _send(self, feeds: Arrays) -> None:
        tensors = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in feeds.items()]
        header = {"outputs": [tensor.name for tensor in self.artifact.outputs], "tensors": tensors}
        contents = [np.ascontiguousarray(array).data.cast("B") for array in feeds.values()]
        for rest in (memoryview(f"{json.dumps(header)}\n".encode()), *contents):
            while rest:
                rest = rest[self.requests.write(rest) :]

    def _array(self, name: str, dtype: str, shape: list[int]) -> np.ndarray[Any, Any]:  # noqa: ARG002
        array = np.empty(shape, dtype)
        rest = array.data.cast("B")
        while rest:
            part = self.answers.read(len(rest))
            if not part:
                raise EOFError
            rest[: len(part)] = part
            rest = rest[len(part) :]
        return array

    def _line(self) -> bytes:
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def _words(self) -> str:
        """The last thing that the process said to people."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last}" if last else ""


def _end(process: Popen[bytes]) -> None:
    """Now: a program with a browser has to end that too, which it could not after SIGKILL."""
    process.terminate()
    try:
        process.wait(ENDING_SECONDS)
    except TimeoutExpired:
        process.kill()


def _ending(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
