"""The process of one contender: load a file or a checkpoint, and play and time each frame that is sent.

Nothing heavy is imported before the environment sets the number of threads, where all runtimes read it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from exporters.artifact import Artifact
from exporters.spec import Fixed
from rvm_model.errors import UserError
from tools.bench.memory import forget_peak, peak, resident
from tools.jobs.processes import THREADS

PYTORCH = "pytorch"
CAPTURED = "captured"
"""The other runtime of a checkpoint on CUDA: see `rvm_model/cuda_graph.py`."""
COMPILED = "compiled"
"""A checkpoint through `torch.compile`, which takes minutes to start on CUDA."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The task of a child: an opened file and its format's runtime, or a checkpoint's path.

    `over_bytes` asks for cut-outs, see `cutouts.py`; with a `backend`, in a browser, see `page.py`.
    """

    model: Artifact | Path
    runtime: str | None
    precision: str
    device: str
    size: Fixed
    threads: int
    over_bytes: bool
    backend: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """One frame: its time, and its mattes by name, float32, if they were asked for."""

    seconds: float
    outputs: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes before the file was opened, and at their peak in the timed rounds; None where the system does not count."""

    before: int | None
    peak: int | None


def serve(connection: Connection, entry: Assignment) -> None:
    """Answer requests until None comes: first send None or an error, then a Turn for each frame, last the Memory.

    A request is a frame (B, H, W, 3), uint8, and whether its mattes are wanted.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and ends this process
    # Let waiting threads sleep, as in our onnxruntime sessions: a spinning thread takes a core that another needs.
    os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", **dict.fromkeys(THREADS, str(entry.threads))})
    try:
        if entry.over_bytes and entry.backend is not None:
            _serve_page(connection, entry, entry.backend)
            return
        with _open(entry) as (step, before):
            connection.send(None)
            state, warm = None, False
            while (request := connection.recv()) is not None:
                pixels, wanted = request
                if not wanted and not warm:
                    forget_peak()  # sending mattes takes more memory than playing
                    warm = True
                frame = pixels if entry.over_bytes else _to_frame(pixels)
                del request, pixels  # they belong to the bench, not to the contender
                start = time.perf_counter()
                matte, state = step(frame, state)
                seconds = time.perf_counter() - start
                connection.send(Turn(seconds=seconds, outputs=_arrays(matte, entry.over_bytes) if wanted else {}))
                del matte, frame  # free them before the next frame is computed
            connection.send(Memory(before=before, peak=peak()))
    except UserError as error:
        connection.send(error)
    except (EOFError, BrokenPipeError):  # the parent has gone
        pass


def _serve_page(connection: Connection, entry: Assignment, backend: str) -> None:
    """Answer requests as `serve` does, with what the page measures."""
    from tools.bench.page import open_page

    assert isinstance(entry.model, Artifact)
    before = resident()
    with open_page(entry.model, backend, entry.size, entry.threads) as page:
        connection.send(None)
        warm = False
        while (request := connection.recv()) is not None:
            pixels, wanted = request
            if not wanted and not warm:
                forget_peak()
                warm = True
            seconds, outputs = page.play(pixels, wanted)
            connection.send(Turn(seconds=seconds, outputs=outputs))
        connection.send(Memory(before=before, peak=peak()))


@contextmanager
def _open(entry: Assignment) -> Iterator[tuple[Callable[[Any, Any], tuple[Any, Any]], int | None]]:
    """Yield a step, and this process's memory after all imports and before the file is opened."""
    if isinstance(entry.model, Path):
        step, before = _open_checkpoint(entry.model, entry)
        yield _to_bytes(step, None) if entry.over_bytes else step, before
        return
    from exporters import load_runtime
    from exporters.full_size import at_full_size
    from exporters.runtime import Device

    runtime = load_runtime(entry.model.format, entry.runtime)
    stage = _fused_stage(entry) if entry.model.gives_line else None
    before = resident()
    with runtime.load(entry.model, cast(Device, entry.device), entry.size.ratio) as file_step:
        step = file_step if stage else at_full_size(entry.model, entry.size.ratio, file_step)
        yield _to_bytes(step, stage) if entry.over_bytes else step, before


def _fused_stage(entry: Assignment) -> Any:
    """Return the compiled full-size steps, or None without numba: then PyTorch does them."""
    if find_spec("numba") is None:
        return None
    from rvm_model.fused import FusedStage

    return FusedStage(entry.size.height, entry.size.width, entry.size.ratio, entry.threads)


def _to_bytes(step: Any, stage: Any) -> Any:
    from tools.bench.cutouts import cutout_step

    return cutout_step(step, stage)


def _open_checkpoint(path: Path, entry: Assignment) -> tuple[Callable[[Any, Any], tuple[Any, Any]], int | None]:
    import torch

    from exporters.runtime import Frame, Matte, State
    from rvm_model.cuda_graph import captured_play
    from rvm_model.device import torch_device
    from rvm_model.weights.checkpoint import load_checkpoint_file

    before = resident()
    where = torch_device(entry.device)
    dtype = torch.float16 if entry.precision == "fp16" else torch.float32
    network = load_checkpoint_file(path).network("always")
    if entry.runtime == CAPTURED:
        play = captured_play(network, entry.size.ratio, where)
        return lambda frame, _: (Matte(**dict(zip(("fgr", "pha"), play(frame), strict=True))), None), before
    network = network.to(where, dtype)
    if entry.runtime == COMPILED:
        # On the CPU, for tests: only the tracing, without a compiler.
        options: dict[str, Any] = {"mode": "max-autotune"} if entry.device == "cuda" else {"backend": "eager"}
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.compile(**options)

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        with torch.inference_mode():
            fgr, pha, *after = network(
                torch.from_numpy(frame).to(where, dtype), *(state or [None] * 4), entry.size.ratio
            )
            if entry.runtime == COMPILED:
                after = [each.clone() for each in after]  # a compiled network's next run overwrites its outputs
            return Matte(fgr=fgr.float().cpu().numpy(), pha=pha.float().cpu().numpy()), after

    return step, before


def _to_frame(pixels: Any) -> Any:
    """Return a frame as the harness has it: (B, 3, H, W), float32 in [0, 1]."""
    import numpy as np

    batch, height, width, channels = pixels.shape
    frame = np.empty((batch, channels, height, width), np.float32)
    return np.divide(pixels.transpose(0, 3, 1, 2), np.float32(255), out=frame, dtype=np.float32)


def _arrays(matte: Any, over_bytes: bool) -> dict[str, Any]:
    if over_bytes:
        from tools.bench.cutouts import outputs_of

        return outputs_of(matte)
    return {name: array for name, array in (("fgr", matte.fgr), ("pha", matte.pha)) if array is not None}
