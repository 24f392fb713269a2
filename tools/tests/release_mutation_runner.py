"""Run the commands on spoiled files of any kind, in a process that may crash.

`python -m tools.tests.release_mutation_runner HOME START STOP`, where `prepare` has made HOME. It reports as
`mutation_runner` does. `release verify` runs its jobs in this process: so a fault that a job's own process would
contain becomes visible, and no thousand processes are started.
"""

import pickle
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from exporters import FORMATS, load_exporter
from exporters.spec import Fixed
from exporters.support.archive import unpacked
from parity_tests.clips import builtin_clip
from rvm_model import load_checkpoint
from tools.jobs.runner import Job, Result, _attempt, _result
from tools.release import check, make
from tools.tests.mutation_runner import Trials
from tools.tests.release_mutations import spoil
from tools.tests.small_release import ROWS, VERSION, order_of

MODELS = {
    "model.onnx": ("onnx", {"precision": "fp32"}),
    "model.torchscript": ("torchscript", {"precision": "fp32"}),
    "savedmodel.zip": ("tensorflow", {"precision": "fp32"}),
    "tfjs.zip": ("tfjs", {"precision": "int8"}),
    "model.mlpackage.zip": ("coreml", {"precision": "fp16", "zip": True}),
    "model.mlmodel": ("coreml", {"precision": "fp16", "target": "ios14"}),
}
"""By name: format and options; files of one size have `SMALL`."""

SMALL = Fixed(width=96, height=64, ratio=0.5)
FOLDERS = {"tfjs": ("tfjs.zip", "model.json"), "mlpackage": ("model.mlpackage.zip", "Manifest.json")}
"""Models that are folders: the zip file of each, and the file that marks its root."""

CHECKPOINTS = ("weights.pth", "weights.safetensors")
RELEASE = "release"


def make_models(folder: Path) -> dict[str, Path]:
    """Export one model of each kind, from seeded weights."""
    checkpoint = load_checkpoint("seeded")
    for name, (format_name, options) in MODELS.items():
        size = {"fixed": SMALL} if FORMATS[format_name].one_size else {}
        spec = FORMATS[format_name].spec(variant="mobilenetv3", refiner="deep_guided_filter", **options, **size)
        load_exporter(format_name).export(checkpoint, spec, folder / name)
    return {name: folder / name for name in MODELS}


def prepare(home: Path, models: Mapping[str, Path]) -> None:
    """Write good files of every kind below `bases`, and a clip. `models` are good files, by their names in `MODELS`."""
    bases = home / "bases"
    bases.mkdir(parents=True)
    for name, path in models.items():
        shutil.copy(path, bases / name)
    for name, (source, marker) in FOLDERS.items():
        with unpacked(bases / source, marker) as folder:
            shutil.copytree(folder, bases / name)
    checkpoint = load_checkpoint("seeded")
    torch.save(dict(checkpoint.state_dict), bases / CHECKPOINTS[0])
    save_file(dict(checkpoint.state_dict), bases / CHECKPOINTS[1])
    make.read_table = lambda: ROWS[:1]
    make.make_release(order_of(bases / RELEASE), VERSION, [], True, 1, None)
    (home / "clip").mkdir()
    for k, (pixels,) in enumerate(builtin_clip(16, 64, 96).pixels):
        Image.fromarray(pixels).save(home / "clip" / f"{k}.png")


def targets(bases: Path) -> list[str]:
    """Return all files that may be spoiled, ordered so that every range holds all kinds."""
    folders = [path for name in (*FOLDERS, RELEASE) for path in sorted((bases / name).rglob("[!.]*"))]
    names = [
        path.relative_to(bases).as_posix()
        for path in folders
        if path.is_file() and "/." not in str(path.relative_to(bases))
    ]
    more = [f"{RELEASE}/manifest.json"] * 4 + [f"{RELEASE}/SHA256SUMS"] * 2 + ["tfjs/model.json"] * 2
    models = [name for name in MODELS if (bases / name).exists()]
    return [*models, *CHECKPOINTS, *names, *more]


def main(home: Path, start: int, stop: int) -> None:
    check.run_jobs = _run_here
    trials = Trials(home)
    bases, files = home / "bases", home / "files"
    names = targets(bases)
    contents = {name: (bases / name).read_bytes() for name in names}
    verifying = ["--clip", home / "clip", "--frames", 16]
    for number in range(start, stop):
        name = names[number % len(names)]
        kind, content = spoil(number, name, contents, home)
        top, _, inner = name.partition("/")
        files.mkdir()
        if inner:
            shutil.copytree(bases / top, files / top)
        (files / name).write_bytes(content)
        path = files / top
        commands: dict[str, list[Any]] = {
            "info": [path],
            "verify": [path, *verifying, "--trust", "--checkpoint", "seeded"],
        }
        if top in CHECKPOINTS:
            commands["verify"] = [bases / "model.onnx", *verifying, "--checkpoint", path]
        if top == RELEASE:
            commands = {"release verify": [path, "--frames", 16]}
        for command, words in commands.items():
            what = {"number": number, "file": name, "kind": kind, "command": command}
            trials.run(what, [*command.split(), *words])
        shutil.rmtree(files)


def _run_here(jobs: Sequence[Job], *_: object) -> list[Result]:
    """Run jobs like `run_jobs`, without processes and retries."""
    return [_result(job, _attempt(pickle.dumps((job.function, job.arguments)), (), "", b""), 1) for job in jobs]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
