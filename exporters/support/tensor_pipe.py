"""Run a file in a separate program: one process per clip, which ends with the clip.

The program gets the file's path, and then answers one frame after the other. A message, in either direction, is a line
of JSON followed by the bytes of its tensors in order:

    {"outputs": ["pha"], "tensors": [{"name": "src", "dtype": "float32", "shape": [1, 3, 360, 640]}]}

A request names the outputs that it wants. The first answer comes before any request: it has no tensors, and means that
the file is loaded. An answer with an "error" is the last. A crash or a timeout of the program raises an error here.
"""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Timer
from typing import IO, Any

import numpy as np

from exporters.artifact import Artifact, ArtifactError
from exporters.runtime import Arrays, Run

ANSWER_SECONDS = 300
"""The timeout for loading the file, and for each frame.

A 4K frame at ratio 1 took 25 s in WebAssembly, on a busy core.
"""

ENDING_SECONDS = 10
"""The time for a terminated program to end the processes that it started itself."""

_CHILD = Path(__file__).with_name("child.py")


def python_command(program: Path, *files: Path) -> list[str | Path]:
    """Return the command that runs a model by one of our Python programs, in the manner of `child.py`."""
    # Without -P, the files beside the program would hide modules of the same name.
    return [sys.executable, "-P", _CHILD, program, *files]


@contextmanager
def running(command: Sequence[str | Path], artifact: Artifact, runtime: str) -> Iterator[Run]:
    """Start `command` and yield a function that runs a frame. The process always ends with the `with` block.

    Args:
        command: The program and its arguments. SIGTERM must end it, and every process that it started.
        artifact: The file that it runs. Every request asks for all its outputs.
        runtime: The runtime's name, for messages.

    Raises:
        ArtifactError: the program refuses the file, crashes or times out. Raised on entering, or later when a frame
            runs.
    """
    with (
        tempfile.TemporaryFile() as said,
        Popen(  # noqa: S603
            command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=said,
            bufsize=0,
            process_group=0,  # Ctrl-C reaches only this process, which then ends the program
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
            with suppress(BrokenPipeError):  # its last answer, if there is one, says why
                self._send(feeds)
            return self.receive()

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Kill the process after the timeout, so that a blocked read or write returns."""
        late = False

        def stop() -> None:
            nonlocal late
            late = True
            _end(self.process)

        watchdog = Timer(ANSWER_SECONDS, stop)
        watchdog.daemon = True  # else a Ctrl-C while it starts would wait for it
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
        except ValueError as error:  # native code wrote to stdout while it crashed
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
        """Return the last line that the process wrote to stderr."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last}" if last else ""


def _end(process: Popen[bytes]) -> None:
    """Terminate the process, and kill it only after a timeout: a program with a browser must end the browser first."""
    process.terminate()
    try:
        process.wait(ENDING_SECONDS)
    except TimeoutExpired:
        process.kill()


def _ending(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
