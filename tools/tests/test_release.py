"""A release, made by real processes from seeded weights: resuming, remaking, refusing, and surviving kills."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import save_file

from exporters import FORMATS
from rvm_model import load_checkpoint
from rvm_model.state import VARIANTS
from tools.jobs.runner import Result
from tools.jobs.seals import seal_key, sealed
from tools.release import check, make, manifest
from tools.release.build import made_already, record_of
from tools.release.contents import read_table
from tools.release.files import SBOM
from tools.release.sbom import to_sbom
from tools.shared.models import load_weights, parse_checkpoints, resolve_source
from tools.tests import release_faults as faults
from tools.tests.children import started
from tools.tests.jobs_here import call_here
from tools.tests.kills import (
    ROOT,
    Kill,
    Resumed,
    hashes,
    kill_and_resume,
    small_command,
    undisturbed,
    wait_until,
)
from tools.tests.small_release import ROWS, VERSION, again, make_here, order_of, small_row
from tools.tests.test_jobs import cluster_of

KILLS = {"releases": 1, "each": 5}
HALF, FULL = (row.file_name(seeded=True) for row in ROWS)
NO_PARTIAL = ".rvm-export-*"
ARGUMENTS = ("--checkpoint", "mobilenetv3=seeded", "--only", "onnx", "--frames", 16, "--version", VERSION, "--jobs", 1)

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="processes, limits and mounts are Linux's here"),
]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """Return the folder of a release. Tests must not change it."""
    folder = tmp_path_factory.mktemp("good") / "release"
    make_here(folder)
    return folder


@pytest.fixture
def copy(good, tmp_path) -> Path:
    """Return a copy of its folder, for changes."""
    return Path(shutil.copytree(good, tmp_path / "release"))


@pytest.fixture(autouse=True)
def small_table(monkeypatch):
    monkeypatch.setattr(make, "read_table", lambda: ROWS)


def released(out, rows=ROWS, **checkpoints):
    order = order_of(out)
    if checkpoints:
        order = replace(order, checkpoints={name: str(source) for name, source in checkpoints.items()})
    make.read_table = lambda: rows  # the fixture restores the real one
    return make.make_release(order, VERSION, [], False, 1, None)


def identities(folder):
    """Return the inodes of the files, by name: a file that is made again has another one, whatever its dates."""
    return {path.name: path.stat().st_ino for path in folder.glob("rvm_*[!d]")}


def made_again(before, folder):
    return sorted(name for name, inode in identities(folder).items() if before.get(name) != inode)


# Resuming.


@pytest.mark.long
def test_killed_at_random_moments_and_resumed(good, tmp_path):
    whole, found = undisturbed(small_command(), tmp_path / "undisturbed", len(ROWS)), []
    assert whole.files == hashes(good)
    for k in range(KILLS["releases"]):
        found += kill_and_resume(whole, tmp_path / str(k), k, KILLS["each"], seed=k)
    kills = [each for each in found if isinstance(each, Kill)]
    resumed = [each for each in found if isinstance(each, Resumed)]
    assert sum(each.hit for each in kills) == KILLS["releases"] * KILLS["each"]
    assert {each.what for each in kills} == {"all", "release"}
    assert [each.wrong for each in kills] == [()] * len(kills)
    assert [(each.code, each.differing, each.left_behind) for each in resumed] == [(0, (), ())] * KILLS["releases"]


@pytest.mark.long
def test_killed_while_it_is_described(copy):
    """Check at every file: existing files are whole, old or new, and sums exist only if they are right."""
    process = subprocess.run(
        [sys.executable, "-m", "tools.tests.kills_while_describing", copy],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert told["as_undisturbed"]
    described = ("parity.xml", "report.html", "LICENSE", "sbom.cdx.json", "manifest.json", "SHA256SUMS")
    assert len(told["kills"]) == 2 * (len(ROWS) + len(described)), "and a card for each file"
    for each in told["kills"]:
        assert each["wrong"] == [], each
        assert each["missing"] == ["SHA256SUMS"], each
        assert each["half_written"] == each["half"]


def test_what_is_made_already_stays(copy, good, run):
    before = identities(copy)
    result = run("release", "--out", copy, *ARGUMENTS)
    assert result.code == 0
    assert result.out.split() == [str(copy / HALF), str(copy / FULL)]
    assert made_again(before, copy) == []
    assert hashes(copy) == hashes(good)


def test_dates_say_nothing(copy, good):
    """Change the dates of files and the clock."""
    before = identities(copy)
    for k, path in enumerate(sorted(copy.rglob("*"))):
        day = (0, 4_000_000_000)[k % 2]
        os.utime(path, (day, day))
    assert released(copy)[1] == []
    assert made_again(before, copy) == []
    assert hashes(copy) == hashes(good)


@pytest.mark.long
def test_a_clock_that_was_set_back(good, tmp_path):
    (tmp_path / "clock.c").write_text(CLOCK)
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine, to set the clock of a process with")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", tmp_path / "clock.so", tmp_path / "clock.c"], check=True, timeout=120
    )
    environment = os.environ | {"LD_PRELOAD": str(tmp_path / "clock.so")}
    year = [sys.executable, "-c", "import datetime, time; print(datetime.date.today().year, time.gmtime().tm_year)"]
    assert subprocess.check_output(year, env=environment, text=True, timeout=120).split() == ["1980", "1980"]
    subprocess.run([*small_command(), tmp_path / "release", "1"], cwd=ROOT, env=environment, check=True, timeout=1500)
    for name in (HALF, f"{HALF}.md"):
        assert hashes(tmp_path / "release")[name] == hashes(good)[name]
    assert made_already(tmp_path / "release" / HALF, record_text(good / HALF)["key"])


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

static const time_t then = 315705600;  /* 3 January 1980 */

time_t time(time_t *seconds) {
    if (seconds) *seconds = then;
    return then;
}

int gettimeofday(struct timeval *now, void *zone) {
    now->tv_sec = then;
    now->tv_usec = 0;
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return real(clock, now);
    now->tv_sec = then;
    now->tv_nsec = 0;
    return 0;
}
"""


def record_text(path):
    return json.loads(json.loads(record_of(path).read_text())["record"])


def forge(path, seal):
    """Damage a file, and say in its record that this is the file that was made."""
    record = record_text(path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    record["entry"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    record_of(path).write_text(seal(json.dumps(record)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: forge(path, str),
        lambda path: forge(path, lambda record: sealed(record, bytes(32))),
        lambda path: forge(path, lambda record: sealed(record, seal_key("other work"))),
        lambda path: path.unlink() or os.mkfifo(path),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: record_of(path).write_text("{"),
        lambda path: record_of(path).unlink() or path.unlink(),
    ],
    ids=[
        *("forged", "forged with another key", "forged with the key of other work"),
        *("pipe", "gone", "changed", "record changed", "both gone"),
    ],
)
def test_only_what_is_spoiled_is_made_again(spoil, copy, good, monkeypatch):
    wanted = []
    monkeypatch.setattr(make, "run_jobs", lambda jobs, *_: wanted.extend(jobs) or [])
    spoil(copy / HALF)
    released(copy)
    assert [job.name for job in wanted] == [HALF]


@pytest.mark.long
def test_a_changed_input_makes_what_depends_on_it_again(tmp_path):
    sources = {"mobilenetv3": tmp_path / "weights.safetensors", "resnet50": "seeded"}
    rows = (ROWS[0], small_row(1.0, "resnet50"))
    state_dict = load_checkpoint("seeded").state_dict
    save_file(state_dict, sources["mobilenetv3"])
    out = tmp_path / "release"
    assert released(out, rows, **sources)[1] == []
    before, old = identities(out), hashes(out)
    key = next(key for key in state_dict if key.endswith("bias"))
    save_file(state_dict | {key: state_dict[key] + 0.25}, sources["mobilenetv3"])
    paths, failures = released(out, rows, **sources)
    assert failures == []
    name = rows[0].file_name(seeded=False)
    assert [path.name for path in paths] == [name, rows[1].file_name(seeded=True)]
    assert made_again(before, out) == [name]
    changed = {name for name, digest in hashes(out).items() if old[name] != digest}
    assert changed >= {name, "manifest.json", "SHA256SUMS", "parity.xml"}
    assert not changed & {rows[1].file_name(seeded=True), f"{rows[1].file_name(seeded=True)}.md"}


def is_linked(record, other):
    record.unlink()
    record.symlink_to(other)


def is_elsewhere(record, other):
    record.parent.rename(other.parent / "records")
    record.parent.symlink_to(other.parent / "records")


def is_a_pipe(record, _):
    record.unlink()
    os.mkfifo(record)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spoil", [is_linked, is_elsewhere, is_a_pipe])
def test_records_that_lead_elsewhere_are_one_line(spoil, copy, run, tmp_path):
    other = tmp_path / "mine" / "other.txt"
    other.parent.mkdir()
    other.write_text("mine")
    (copy / HALF).write_bytes(b"damaged")
    spoil(record_of(copy / HALF), other)
    before = hashes(tmp_path / "mine")
    result = run("release", "--out", copy, *ARGUMENTS)
    assert result.code == 2
    assert "is a link, or no regular file; remove it, or give another --output" in result.error
    assert hashes(tmp_path / "mine") == before
    assert (copy / HALF).read_bytes() == b"damaged"


def test_a_mark_is_not_written_through_a_hard_link(copy, tmp_path, monkeypatch):
    other = tmp_path / "other.txt"
    other.write_text("mine")
    record_of(copy / HALF).unlink()
    os.link(other, record_of(copy / HALF))
    monkeypatch.setattr(make, "run_jobs", lambda *_: [])
    released(copy)
    assert other.read_text() == "mine"
    assert record_of(copy / HALF).read_bytes() == b""


def test_an_empty_mark_says_that_a_file_is_made_again(copy, monkeypatch):
    """Check a mark as a killed release leaves it, which anyone could write: nothing in the file is believed."""
    wanted = []
    monkeypatch.setattr(make, "run_jobs", lambda jobs, *_: wanted.extend(jobs) or [])
    record_of(copy / HALF).write_bytes(b"")
    _, failures = released(copy)
    assert [job.name for job in wanted] == [HALF] == [each.name for each in failures]
    assert not (copy / HALF).exists()


def test_a_job_with_other_versions_makes_nothing(copy, monkeypatch):
    """Simulate a cluster's machine with another version of onnx."""
    monkeypatch.setattr("tools.jobs.runner.ATTEMPTS", 1)
    monkeypatch.setattr("tools.release.build.tools_of", lambda name: {"onnx": "0.1"})
    _, failures = released(copy, ROWS[:1])
    assert [each.name for each in failures] == [HALF]
    assert "install the same there" in failures[0].error
    assert identities(copy).keys() == {FULL}


# Options.


def test_only_some_formats_and_the_light_set(monkeypatch):
    rows = read_table()
    monkeypatch.setattr(make, "read_table", lambda: rows)
    assert make.chosen([], False) == [*rows]
    assert make.chosen([], True) == [row for row in rows if row.light]
    assert make.chosen(["onnx", "tfjs"], False) == [row for row in rows if row.format in ("onnx", "tfjs")]
    assert {row.spec.variant for row in make.chosen([], True)} == {"mobilenetv3"}
    assert {row.format for row in rows} == {row.format for row in make.chosen([], True)} == {*FORMATS}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "onxx"], "--only onxx: give one of coreml, executorch, litert, ncnn, onnx, "),
        (["--only", "tfjs"], "no file of the release is of tfjs; leave --only out"),
        (["--version", "../1"], "--version '../1': give letters, digits"),
        (["--checkpoint", "resnet=seeded"], "--checkpoint resnet=seeded: resnet is not one of"),
        (["--checkpoint", "seeded"], "there is one for mobilenetv3 already"),
        (["--checkpoint", "nowhere.pth"], "no such checkpoint: nowhere.pth"),
        (["--clip", "nowhere"], "nowhere"),
        (["--frames", "3"], "12"),
        (["--out", "file"], "file is a file, or lies in one; give another --output"),
        (["--out", "file/deeper"], "file/deeper is a file, or lies in one; give another --output"),
    ],
    ids=lambda each: "" if isinstance(each, str) else " ".join(each),
)
def test_wrong_use_is_one_line_and_writes_nothing(words, said, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make, "run_jobs", lambda *_: pytest.fail("nothing must run"))
    Path("file").touch()
    result = run("release", "--checkpoint", "mobilenetv3=seeded", "--frames", 16, "--out", "out", *words)
    assert result.code == 2
    assert result.out == ""
    assert said in result.error
    assert hashes(tmp_path).keys() - {"out"} == {"file"}
    assert hashes(tmp_path / "out") == {}


def test_code_is_a_checkpoint_only_of_who_trusts_it(run, exported, tmp_path):
    torchscript = exported("torchscript")
    for words in (["--checkpoint", torchscript], ["--checkpoint", f"mobilenetv3={torchscript}"]):
        for command in (["release", "--light", "--out", tmp_path / "out"], ["release", "verify", tmp_path], ["bench"]):
            result = run(*command, *(["--checkpoint", torchscript] if command == ["bench"] else words))
            assert result.code == 2
            assert "which is code and would be run; give --trust if you trust it" in result.error
    sources = parse_checkpoints([str(torchscript)], VARIANTS, True)
    assert resolve_source(sources["mobilenetv3"], "mobilenetv3", True) == str(torchscript)
    weights = load_weights(str(torchscript), "mobilenetv3", "deep_guided_filter", True)
    assert weights.weights_sha256 == load_checkpoint("seeded").weights_sha256


def test_strangers_are_named_and_left_alone(copy, run):
    (copy / "notes.txt").write_text("mine")
    result = run("release", "--out", copy, *ARGUMENTS)
    assert result.code == 0
    assert "not of this release: notes.txt" in result.err
    assert (copy / "notes.txt").read_text() == "mine"


def test_a_file_of_no_release_is_not_replaced(run, tmp_path):
    (tmp_path / HALF).write_text("mine")
    result = run("release", "--out", tmp_path, *ARGUMENTS)
    assert result.code == 2
    assert f"{HALF} is there, and of no release; move it away" in result.error
    assert (tmp_path / HALF).read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {HALF}


@pytest.mark.parametrize("name", ["manifest.json", "report.html", f"{HALF}.md"])
def test_nor_is_a_text_or_what_another_command_is_writing(name, run, tmp_path):
    (tmp_path / name).write_text("mine")
    staging = tmp_path / ".rvm-export-abc"
    staging.mkdir()
    result = run("release", "--out", tmp_path, *ARGUMENTS)
    assert result.code == 2
    assert f"{name} is there, and of no release" in result.error
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {name: "mine"}
    assert staging.is_dir()


@pytest.mark.long
def test_what_was_made_otherwise_is_told(copy, run, monkeypatch):
    monkeypatch.setattr(check, "_again", again)  # the process of `again` has the same small table
    result = run("release", "--out", copy, *ARGUMENTS, "--check-reproducible")
    assert result.code == 0, result.err
    assert "every file is the same bytes" in result.err
    monkeypatch.setattr(check, "read_sums", lambda folder: {"report.html": str(folder)})
    result = run("release", "--out", copy, *ARGUMENTS, "--check-reproducible")
    assert result.code == 1
    assert "report.html is not reproducible" in result.err


def test_without_one_file_it_is_not_whole(copy, run, monkeypatch):
    """Check it although the release lists no missing file."""
    monkeypatch.setattr(make, "run_jobs", lambda jobs, *_: [])
    (copy / HALF).unlink()
    assert run("release", "--out", copy, *ARGUMENTS).code == 1
    monkeypatch.undo()
    result = run("release", "verify", copy)
    assert result.code == 1
    assert "SHA256SUMS cannot be read" in result.err


def test_options_go_behind_verify(copy, run):
    result = run("release", "--only", "onnx", "verify", copy)
    assert result.code == 2
    assert "--only goes behind verify" in result.error


# Checking.


def forged(folder, change):
    """Change a release's manifest, and its bill of materials and sums to match."""
    path = folder / manifest.NAME
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    with suppress(manifest.ManifestError):
        (folder / SBOM).write_text(to_sbom(manifest.read_manifest(path)))
    sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes(folder).items()) if name != make.SUMS)
    (folder / make.SUMS).write_text(sums)


def put_at(*where, value):
    def change(told):
        for key in where[:-1]:
            told = told[key]
        told[where[-1]] = value

    return change


def weights_of_a_stranger(told):
    """List weights of a variant that there is not."""
    told["checkpoints"]["stranger"] = told["checkpoints"]["mobilenetv3"] | {"origin": "file"}


def swap(folder):
    (folder / HALF).rename(folder / "x")
    (folder / FULL).rename(folder / HALF)
    (folder / "x").rename(folder / FULL)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda out: (out / HALF).unlink(), [f"{HALF} is in SHA256SUMS, but is no file here", f"{HALF} is missing"]),
        (lambda out: (out / "notes").touch(), ["notes is not of this release"]),
        (lambda out: (out / "SHA256SUMS").unlink(), ["SHA256SUMS cannot be read"]),
        (lambda out: (out / "SHA256SUMS").write_text("0 /etc/passwd"), ["is no sum and name"]),
        (lambda out: (out / "SHA256SUMS").write_text(f"{'0' * 64}  ../x\n"), ["is no sum and name"]),
        (lambda out: (out / "SHA256SUMS").write_bytes(b"\xff"), ["SHA256SUMS cannot be read"]),
        (lambda out: (out / "SHA256SUMS").write_text(""), [f"{HALF} is not in SHA256SUMS", "manifest.json is not in"]),
        (lambda out: (out / f"{HALF}.md").write_text("other"), [f"{HALF}.md is not the file that SHA256SUMS lists"]),
        (swap, [f"{HALF} is not the file that", f"{HALF}: it is not the file that the manifest lists"]),
        (lambda out: (out / "manifest.json").unlink(), ["cannot read"]),
        (lambda out: (out / "manifest.json").write_text("{"), ["is no manifest of a release"]),
        (lambda out: forged(out, put_at("artifacts", 0, "file", value="../x.onnx")), ["artifacts.0.file"]),
        (lambda out: forged(out, put_at("more", value=1)), ["more: Extra inputs are not permitted"]),
        (lambda out: forged(out, put_at("artifacts", value=[])), ["the manifest lists no file", "not of this release"]),
        (lambda out: forged(out, put_at("artifacts", 0, "format", value="tfjs")), ["its format is onnx, and tfjs in"]),
        (lambda out: forged(out, put_at("artifacts", 0, "weights_sha256", value="0" * 64)), ["its weights_sha256 is"]),
        (lambda out: forged(out, put_at("artifacts", 0, "inputs", value=[])), ["its inputs are", "its inputs is"]),
        (lambda out: forged(out, put_at("artifacts", 0, "spec", "precision", value="fp16")), ["its precision is fp32"]),
        (lambda out: forged(out, put_at("artifacts", 0, "spec", "opset", value=11)), ["its opset is", "and 11 in"]),
        (lambda out: forged(out, put_at("artifacts", 0, "tools", "onnx", value="1.0")), ["its onnx_version is"]),
        (lambda out: forged(out, put_at("artifacts", 0, "bytes", value=3)), ["bytes, expected is one of 3 bytes"]),
        (lambda out: forged(out, put_at("checkpoints", value={})), ["its checkpoint is not the one that the"]),
        (
            lambda out: forged(out, put_at("checkpoints", "mobilenetv3", "origin", value="file")),
            ["give its weights as --checkpoint mobilenetv3=PATH (sha256 "],
        ),
    ],
    ids=[
        *("missing", "stranger", "no sums", "no sum", "sum outside", "sums no text", "no line", "card", "swapped"),
        *("no manifest", "no json", "file outside", "more keys", "empty", "format", "weights", "inputs", "precision"),
        *("opset", "tool", "bytes", "no checkpoint", "weights of its own"),
    ],
)
def test_every_doubt_is_told(spoil, said, copy, run, monkeypatch):
    monkeypatch.setattr(check, "run_jobs", in_this_process)
    monkeypatch.setattr(check, "prove", lambda *_: SimpleNamespace(reports=()))  # slow, and covered by another test
    spoil(copy)
    result = run("release", "verify", copy, "--frames", 16)
    assert result.code == 1, result.err
    assert "Traceback" not in result.err
    assert any(each in result.err for each in said), result.err


def test_weights_of_an_unknown_variant_are_not_looked_for(copy, run, monkeypatch):
    monkeypatch.setattr(check, "run_jobs", in_this_process)
    monkeypatch.setattr(check, "prove", lambda *_: SimpleNamespace(reports=()))
    forged(copy, weights_of_a_stranger)
    result = run("release", "verify", copy, "--frames", 16)
    assert result.code == 0, result.err


def in_this_process(jobs, *_):
    return [Result(name=job.name, outcome="done", value=job.function(*job.arguments)) for job in jobs]


def test_a_good_release_is_ok_and_other_weights_are_doubted(copy, run, tmp_path, monkeypatch):
    result = run("release", "verify", copy, "--frames", 16, "--jobs", 1)
    assert (result.code, result.out) == (0, "")
    assert f"ok: {copy} is whole, and each file computes what PyTorch computes" in result.err
    state_dict = load_checkpoint("seeded").state_dict
    other = {key: value * 1.1 if value.is_floating_point() else value for key, value in state_dict.items()}
    save_file(other, tmp_path / "other.safetensors")
    monkeypatch.setattr("tools.jobs.runner.in_process", call_here)
    result = run("release", "verify", copy, "--frames", 16, "--jobs", 1, "--checkpoint", tmp_path / "other.safetensors")
    assert result.code == 1
    assert f"{HALF}: " in result.err
    assert f"{FULL}: " in result.err


def test_no_folder_is_wrong_use(run, tmp_path):
    result = run("release", "verify", tmp_path / "nowhere")
    assert result.code == 2
    assert "nowhere is no folder; give that of a release" in result.error


# Faulty jobs.


@pytest.fixture
def cluster(request, tmp_path_factory) -> Iterator[str | None]:
    if request.param == "local":
        yield None
        return
    with cluster_of(tmp_path_factory.mktemp("dask"), workers=2) as address:
        yield address


@pytest.mark.long
@pytest.mark.parametrize(
    ("cluster", "more"),
    [
        ("local", {0.5: faults.die_once, 0.75: faults.refuse}),
        ("dask", {}),
    ],
    indirect=["cluster"],
    ids=["local", "dask"],
)
def test_jobs_that_go_wrong_are_tried_once_more_and_reported(cluster, more, run, good, tmp_path, monkeypatch):
    """Check that the other jobs continue."""
    what = {0.25: faults.die, 0.375: faults.hang, 0.875: faults.lose} | more
    rows = {ratio: small_row(ratio) for ratio in (*what, 1.0)}
    names = {ratio: row.file_name(seeded=True) for ratio, row in rows.items()}
    function = {names[ratio]: what.get(ratio, make.build) for ratio in rows}
    genuine = make.run_jobs

    def run_jobs(jobs, *more):
        changed = [replace(job, function=function.get(job.name, job.function)) for job in jobs]
        return genuine([replace(job, seconds=1) if job.function is faults.hang else job for job in changed], *more)

    monkeypatch.setattr(make, "read_table", lambda: tuple(rows.values()))
    monkeypatch.setattr(make, "run_jobs", run_jobs)
    out = tmp_path / "release"
    where = ["--jobs", 2] if cluster is None else ["--cluster", cluster]
    result = run("release", "--checkpoint", "mobilenetv3=seeded", "--frames", 16, "--out", out, *where)
    assert result.code == 1
    said = {
        0.25: "SIGKILL, as happens when memory runs out",
        0.375: "it took longer than 1 s, and was ended",
        0.75: "onnx needs onnx; run: pip install",
        0.875: "its job ended well, but the file is not here; do all workers of the cluster see the folder",
    }
    wrong = [ratio for ratio in rows if ratio in said]
    right = [ratio for ratio in rows if ratio not in said]
    assert result.out.split() == [str(out / names[ratio]) for ratio in right]
    assert [entry.file for entry in manifest.read_manifest(out / manifest.NAME).artifacts] == [names[k] for k in right]
    assert hashes(out)[FULL] == hashes(good)[FULL]
    junit, page = ((out / name).read_text() for name in (make.JUNIT, make.REPORT))
    for ratio in wrong:
        (line,) = [line for line in result.err.splitlines() if f"error: {names[ratio]} is not there: " in line]
        assert said[ratio] in line
        assert said[ratio] in unescape(junit)
        assert said[ratio] in unescape(page)
    again = {ratio for ratio in rows if f"trying {names[ratio]} again" in result.err}
    assert again == {*rows} - {0.875, 1.0}
    tries = {0.25: 2, 0.5: 2, 0.75: 2, 0.875: 1}
    assert faults.tries(out) == {ratio: tries[ratio] for ratio in what if ratio in tries}


@pytest.mark.long
def test_without_memory_each_job_says_so(run, tmp_path, monkeypatch):
    genuine = make.run_jobs

    def run_jobs(jobs, *more):
        return genuine([replace(job, function=faults.starve) for job in jobs], *more)

    monkeypatch.setattr(make, "run_jobs", run_jobs)
    monkeypatch.setattr(make, "read_table", lambda: ROWS[:1])
    result = run("release", "--out", tmp_path, *ARGUMENTS)
    assert result.code == 1
    assert "Traceback" not in result.err
    assert f"rvm-export: error: {HALF} is not there: " in result.err, result.err
    assert identities(tmp_path) == {}
    assert [*tmp_path.rglob(NO_PARTIAL)] == []


# Output folders.


def test_a_second_release_into_the_same_folder_is_refused(run, tmp_path):
    with started([*small_command(), tmp_path], cwd=ROOT, stderr=subprocess.DEVNULL):
        wait_until(lambda: record_of(tmp_path / HALF).exists())
        result = run("release", "--out", tmp_path, *ARGUMENTS)
    assert result.code == 2
    assert f"another release is being written into {tmp_path}; wait until it has ended" in result.error


@pytest.mark.long
def test_a_full_disk_and_a_read_only_one(good, tmp_path):
    """Test on a small file system of the process's own; skip the test where mounting is not allowed."""
    script = [sys.executable, "-m", "tools.tests.small_disk", tmp_path]
    process = subprocess.run(
        ["unshare", "--map-root-user", "--mount", *script], cwd=ROOT, capture_output=True, text=True, timeout=1500
    )
    if "unshare failed" in process.stderr or "mount failed" in process.stderr:
        pytest.skip(f"no file system can be mounted here: {process.stderr.strip()}")
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert [each["half_written"] for each in told.values()] == [[]] * 4
    assert not any("Traceback" in each["said"] for each in told.values())
    full, enough = told["full"], told["enough"]
    assert full["code"] == 1
    assert f"{FULL} is not there: cannot write {tmp_path / FULL}: No space left on device" in full["said"]
    assert full["files"][HALF] == hashes(good)[HALF]
    assert FULL not in full["files"]
    assert enough["code"] == 0
    assert f"done {HALF}" not in enough["said"], "it was there"
    assert enough["files"] == hashes(good)
    for name, place in (("read-only", tmp_path), ("read-only, nothing there", tmp_path / "deeper")):
        assert told[name]["code"] == 2
        (line,) = told[name]["said"].splitlines()
        assert line == f"rvm-export: error: cannot write into {place}: Read-only file system; give another --output"
    assert told["read-only"]["files"] == hashes(good)


@pytest.mark.long
def test_files_that_must_not_grow(run, tmp_path):
    """Limit the size of files, as a full disk does."""
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000,) * 2); "
    code = limited + "from tools.tests.small_release import main; from pathlib import Path; main(Path(sys.argv[1]), 1)"
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=1500
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert process.stderr.count("File too large") >= 2
    assert identities(tmp_path) == {}
