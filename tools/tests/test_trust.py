"""TorchScript that writes a file when it is loaded, given to every command, under its own name and another's."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from exporters import describe, open_artifact
from exporters.artifact import ArtifactError, Untrusted
from exporters.support.licence import LICENCE, SOURCE
from exporters.torchscript.runtime import load_module
from rvm_model import load_checkpoint
from tools.companions.entry import Alpha, OutputErrors, Parity
from tools.release import manifest
from tools.release.files import SBOM, SUMS, summed
from tools.release.manifest import VERSION, Manifest, ReleasedFile, Scan, Weights
from tools.release.sbom import to_sbom

ROOT = Path(__file__).resolve().parents[2]
NAME = "rvm_mobilenetv3_fp32_seeded.torchscript"
UNTRUSTED = "which is code and would be run; give --trust if you trust it"
LIE = "is TorchScript by its content, and ONNX by its name; give the right file, or a name that ends in .torchscript"
SHA = load_checkpoint("seeded").weights_sha256

pytestmark = pytest.mark.timeout(900)


class Writer(torch.nn.Module):
    """Writes a file to `place` whenever it is loaded."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.place = str(place)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.weight, self.place, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.weight, self.place, self.training = state
        torch.save(self.weight, self.place)

    def forward(self) -> torch.Tensor:
        return self.weight


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Path, Path]:
    """Return a matting network that writes when it is loaded, and the file that it writes."""
    folder = tmp_path_factory.mktemp("hostile")
    network = load_checkpoint("seeded").network()
    network.writer = Writer(folder / "written")
    torch.jit.save(torch.jit.script(network), folder / NAME)
    return folder / NAME, folder / "written"


@pytest.fixture(scope="module")
def honest(exported) -> dict[str, Path]:
    """Return files of seeded weights by format. Tests must not change them."""
    return {name: exported(name) for name in ("onnx", "torchscript")}


@pytest.fixture
def written(hostile) -> Path:
    hostile[1].unlink(missing_ok=True)
    return hostile[1]


def test_loading_alone_runs_code(hostile, written):
    torch.jit.load(hostile[0])
    assert written.exists()


COMMANDS = {
    "verify": ["verify", "FILE", "--checkpoint", "seeded", "--frames", "12"],
    "matte": ["matte", "CLIP", "--model", "FILE", "--alpha", "OUT/alpha"],
    "compare": ["compare", "FILE", "seeded", "--output", "OUT/compared.png"],
    "bench": ["bench", "FILE", "--checkpoint", "seeded"],
    "recover": ["recover", "FILE", "--output", "OUT", "--no-verify"],
    "--checkpoint": ["torchscript", "--checkpoint", "FILE", "--output", "OUT"],
    "release": ["release", "--checkpoint", "FILE", "--out", "OUT"],
    "release VARIANT=": ["release", "--checkpoint", "mobilenetv3=FILE", "--out", "OUT"],
}


def words(command: list[str], path: Path, folder: Path) -> list[str]:
    (folder / "out").mkdir(exist_ok=True)
    values = {"FILE": str(path), "CLIP": str(folder / "clip.png"), "OUT": str(folder / "out")}
    shutil.copy(ROOT / "rvm_model/video/synthetic/portrait.png", values["CLIP"])
    for name, value in values.items():
        command = [word.replace(name, value) for word in command]
    return command


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(("name", "said"), [(NAME, UNTRUSTED), ("bare", UNTRUSTED), ("x.onnx", LIE), ("x.ONNX", LIE)])
def test_no_command_runs_it_without_trust(command, name, said, hostile, written, run, tmp_path):
    path = Path(shutil.copy(hostile[0], tmp_path / name))
    result = run(*words(command, path, tmp_path))
    assert (result.code, result.out) == (2, "")
    assert said in result.error
    assert not written.exists()
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_name_that_lies_is_no_matter_of_trust(hostile, written, run, tmp_path):
    path = Path(shutil.copy(hostile[0], tmp_path / "x.onnx"))
    for command in ("verify", "recover"):
        result = run(command, path, "--trust")
        assert result.code == 2
        assert LIE in result.error
    assert not written.exists()


@pytest.mark.parametrize("command", [["bisect"], ["bisect", "--against"], ["demo", "--model"], ["info"]], ids=" ".join)
def test_no_command_without_the_option_runs_it(command, hostile, written, run, honest, tmp_path):
    for name in (NAME, "x.onnx"):
        path = Path(shutil.copy(hostile[0], tmp_path / name))
        against = [honest["onnx"]] if "--against" in command else []
        result = run(*command[:1], *against, *command[1:], path)
        assert result.code == (0 if (command, name) == (["info"], NAME) else 2), result.err
        assert not written.exists()


def test_with_trust_it_is_run(hostile, written, run, tmp_path):
    """Check that the attack is one: without this, the tests above could pass for another reason."""
    result = run("recover", hostile[0], "--output", tmp_path, "--no-verify", "--trust")
    assert "Traceback" not in result.err
    assert written.exists()


def test_info_describes_it(hostile, written, run):
    result = run("info", hostile[0], "--json")
    assert result.code == 0, result.err
    assert '"variant": "mobilenetv3"' in result.out
    assert not written.exists()


def test_benchmark_does_not_run_a_file_that_it_finds(hostile, written, run, tmp_path):
    shutil.copy(hostile[0], tmp_path / NAME)
    result = run("benchmark", "--formats", "torchscript", "--checkpoint", "seeded", "--output", tmp_path)
    assert result.code == 2
    assert UNTRUSTED in result.error
    assert "--force to replace it" in result.error
    assert not written.exists()


def test_only_what_was_opened_is_run(hostile, written, honest, tmp_path):
    """Swap the file after it was opened."""
    path = Path(shutil.copy(honest["torchscript"], tmp_path))
    artifact = open_artifact(path, trust=True)
    load_module(artifact, torch.device("cpu"))
    shutil.copy(hostile[0], path)
    with pytest.raises(ArtifactError, match="was changed since it was opened"):
        load_module(artifact, torch.device("cpu"))
    with pytest.raises(Untrusted, match="--trust"):
        load_module(describe(path), torch.device("cpu"))
    assert not written.exists()


def test_one_place_loads_torchscript():
    folders = ("rvm_model", "exporters", "parity_tests", "tools")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    loading = {path.relative_to(ROOT).as_posix() for path in sources if "jit.load(" in path.read_text()}
    assert {name for name in loading if "tests/" not in name} == {"exporters/torchscript/runtime.py"}


# Releases.

NONE = dict.fromkeys(("max_abs", "mean_abs", "high_abs", "limit_max_abs", "limit_mean_abs", "limit_high_abs"), 0.0)
PARITY = Parity(
    function="",
    runtime="torch",
    clip="builtin",
    frames=16,
    width=96,
    height=64,
    downsample_ratio=0.5,
    outputs={"pha": OutputErrors(**NONE, yardsticks=0.0)},
    alpha=Alpha(mad=0.0, mse=0.0, dtssd=0.0),
    truth=None,
)


def release_of(folder: Path, source: Path, name: str, format_name: str) -> Path:
    """Write a release of one file, whose sums and manifest agree."""
    folder.mkdir()
    path = Path(shutil.copy(source, folder / name))
    entry = ReleasedFile(
        file=name,
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        format=format_name,
        spec={"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32"},
        checkpoint_sha256=SHA,
        weights_sha256=SHA,
        licence=LICENCE,
        tools={},
        inputs=(),
        outputs=(),
        parity=(PARITY,),
        scan=Scan(members=1, pickles=(), external=(), custom=(), operations={}),
    )
    whole = Manifest(
        manifest=VERSION,
        name="rvm-export",
        version="1.0.0",
        licence=LICENCE,
        source=SOURCE,
        checkpoints={"mobilenetv3": Weights(origin="seeded", sha256=SHA, weights_sha256=SHA)},
        artifacts=(entry,),
    )
    (folder / manifest.NAME).write_text(manifest.to_text(whole))
    (folder / SBOM).write_text(to_sbom(whole))
    for text in summed([name]) - {manifest.NAME, SBOM, name}:
        (folder / text).touch()
    sums = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(sums))
    return folder


@pytest.mark.parametrize(
    ("name", "format_name", "said"),
    [
        (NAME, "torchscript", f"{NAME}: "),
        (NAME, "onnx", "its format is torchscript, and onnx in the manifest"),
        ("x.onnx", "onnx", LIE),
        ("x.bin", "torchscript", "its name ends in none of .torchscript, as TorchScript files do"),
    ],
)
@pytest.mark.parametrize("sums", [True, False])
def test_a_release_is_not_run_without_trust(name, format_name, said, sums, hostile, written, run, tmp_path):
    folder = release_of(tmp_path / "release", hostile[0], name, format_name)
    if not sums:
        (folder / SUMS).unlink()
    result = run("release", "verify", folder)
    assert (result.code, result.out) == (1, "")
    assert (said if sums else "SHA256SUMS cannot be read: ") in result.err
    assert (UNTRUSTED in result.err) == (sums and name == NAME and format_name == "torchscript")
    assert not written.exists()


def test_trust_is_no_way_round_sums_and_names(hostile, written, run, tmp_path):
    folder = release_of(tmp_path / "release", hostile[0], "x.onnx", "onnx")
    assert run("release", "verify", folder, "--trust").code == 1
    folder = release_of(tmp_path / "other", hostile[0], NAME, "torchscript")
    (folder / NAME).write_bytes((folder / NAME).read_bytes() + b"\0")
    assert run("release", "verify", folder, "--trust").code == 1
    (folder / SUMS).unlink()
    assert run("release", "verify", folder, "--trust").code == 1
    assert not written.exists()
