"""Measure all that runs on CUDA in one command: parity, captured graphs, speed, memory.

`python -m tools.measure.cuda --out DIR [--checkpoint FILE]` writes `cuda_GPU.json` and `cuda_GPU.csv`, whose lines have
one form (`COLUMNS`). Each part runs in a process of its own with a time limit, and a part that fails is a line, not the
end. The whole is meant to take under eight minutes on an H100-class GPU. Exits with 1 if a matte is wrong, but not if
something could not be measured.

Needs a checkout, torch and the packages of `rvm-export`; the ONNX lines need onnxruntime-gpu.
"""

import argparse
import csv
import json
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.jobs.processes import ProcessDied, in_process
from tools.measure.cuda_parts import COLUMNS, RACERS, Line, Memory, Plan, Race, captured, first_line, line, parity
from tools.shared.machine import machine, versions

_CLOCKS = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu", "memory.used")

Part = Callable[[Plan], list[Line]]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure.cuda", description="Measure all that runs on CUDA.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--checkpoint", default="seeded", help="weights; default: seeded")
    options = parser.parse_args()
    if gpu_name() is None:
        parser.error("no CUDA GPU here, or nvidia-smi is missing; run it on a machine with an NVIDIA GPU")
    sys.exit(write_all(Plan(checkpoint=options.checkpoint), options.out))


def write_all(plan: Plan, out: Path) -> int:
    """Measure all parts, write both files, and return the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"cuda_{slug(gpu_name() or plan.device)}"
    start, lines, clocks = time.monotonic(), list[Line](), list[Mapping[str, str]]()
    conditions = {
        "machine": machine(plan.device),
        "versions": versions(),
        "checkpoint": Path(plan.checkpoint).name,
        "frames": plan.frames,
        "rounds": plan.rounds,
    }
    for name, part in parts(plan):
        lines += run_part(name, part, plan)
        seconds = round(time.monotonic() - start)
        clocks.append({"after": name, "seconds": str(seconds), **gpu_state()})
        print(f"{seconds:4} s  {name}", file=sys.stderr)  # noqa: T201
        # After each part, so that nothing is lost if the run is cut off.
        write(stem, {**conditions, "seconds": seconds, "clocks": clocks, "lines": lines})
    for each in lines:
        print(*(each[column] for column in COLUMNS if each[column] != ""), sep="  ")  # noqa: T201
    return int(any(each["ok"] == "no" for each in lines))


def write(stem: Path, document: Mapping[str, Any]) -> None:
    """Write the document as JSON, and its lines as CSV."""
    stem.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    with stem.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(document["lines"])


def parts(plan: Plan) -> Iterator[tuple[str, Part]]:
    """Yield the parts by name. A part is a function of a module, so that a process of its own can find it."""
    yield "parity", parity
    yield "captured", captured
    for size in plan.race_sizes:
        for name in RACERS:
            yield f"race {size.width}x{size.height} {name}", Race(size=size, name=name)
        for mode in ("pytorch", "captured"):
            yield f"memory {size.width}x{size.height} {mode}", Memory(size=size, mode=mode)


def run_part(name: str, part: Part, plan: Plan) -> list[Line]:
    """Run a part in a process of its own. Return its lines, or one that says why there are none."""
    call = pickle.dumps((_guarded, (part, plan)))
    try:
        lines: list[Line] = json.loads(in_process(call, lambda: False, {}, seconds=plan.seconds))
    except ProcessDied as error:
        lines = [line(part=name, note=f"not measured: {error}")]
    return lines


def _guarded(part: Part, plan: Plan) -> list[Line]:
    try:
        return part(plan)
    except Exception as error:
        return [line(part=getattr(part, "__name__", str(part)), note=f"not measured: {first_line(error)}")]


def gpu_name() -> str | None:
    """Return the name of the first GPU, or None."""
    found = _nvidia_smi("name")
    return found[0] if found else None


def gpu_state() -> Mapping[str, str]:
    """Return clocks in MHz, power in W, temperature in degrees Celsius and used memory in MiB; empty without a GPU."""
    return dict(zip(_CLOCKS, _nvidia_smi(*_CLOCKS), strict=False))


def _nvidia_smi(*names: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [value.strip() for value in found.stdout.splitlines()[0].split(",")]


def slug(name: str) -> str:
    """Return a name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


if __name__ == "__main__":
    main()
