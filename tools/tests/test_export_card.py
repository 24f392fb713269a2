"""`--card`, and the line that says how to call an exported file."""

import hashlib
import re
import sys

import pytest

import exporters

SEEDED = ("--checkpoint", "seeded")
NAME = "rvm_mobilenetv3_fp32_seeded.onnx"


@pytest.fixture
def refused(run, tmp_path, monkeypatch):
    """Return a function that runs a command that must be refused before the weights are opened."""
    monkeypatch.setattr("tools.commands.export.open_checkpoint", lambda *_, **__: pytest.fail("they were opened"))

    def refuse(*words):
        before = {*tmp_path.rglob("*")}
        result = run("onnx", *SEEDED, "--output", tmp_path, *words)
        assert (result.code, result.out) == (2, "")
        assert {*tmp_path.rglob("*")} == before
        return result.error

    return refuse


def test_a_card_lies_beside_the_file_and_is_about_it(run, tmp_path):
    result = run("onnx", *SEEDED, "--card", "--output", tmp_path)
    path, card = tmp_path / NAME, tmp_path / f"{NAME}.md"
    assert (result.code, result.out) == (0, f"{path}\n")
    assert {*tmp_path.iterdir()} == {path, card}
    text = card.read_text()
    assert text.startswith(f"# {NAME}\n")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    assert f"| bytes | {path.stat().st_size} |" in text
    assert f'ort.InferenceSession("{NAME}")' in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `pha` |")]
    (shown,) = [line for line in result.err.splitlines() if line.startswith("│ pha ")]
    assert row.split("|")[2].strip() == shown.split("│")[2].strip()  # the largest error, as the table said
    (call,) = [line for line in result.err.splitlines() if line.startswith("how to call it: ")]
    for word in ("session.run(", "src (batch, 3, height, width) float32, RGB in [0, 1]", "zeros of shape (1, 1, 1, 1)"):
        assert word in call
    assert call.endswith("it returns fgr, pha, r1o, r2o, r3o, r4o")


def test_a_card_of_a_folder(run, tmp_path):
    result = run("ncnn", *SEEDED, "--card", "-r", "96x64", "-d", "0.5", "--output", tmp_path)
    assert result.code == 0, result.err
    name = "rvm_mobilenetv3_96x64_s0.5_fp32_seeded.ncnn"
    (digest,) = re.findall(r"\| sha256 \| `(\w+)`", (tmp_path / f"{name}.md").read_text())
    lines = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in (tmp_path / name).iterdir()]
    assert digest == hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()
    assert "r1i to r4i, zeros of their shapes before the first frame" in result.err


def test_a_file_that_was_not_opened_is_described_by_info(run, tmp_path):
    result = run("onnx", *SEEDED, "--no-verify", "--output", tmp_path)
    assert f"how to call it: see rvm-export info {tmp_path / NAME}\n" in result.err
    assert "session.run(" in " ".join(run("info", tmp_path / NAME).err.split())


def test_without_parity_there_is_no_card(refused):
    assert refused("--card", "--no-verify").endswith("leave --card or --no-verify out")


def test_somebody_elses_text_is_kept(refused, tmp_path):
    card = tmp_path / f"{NAME}.md"
    card.write_text("mine")
    assert f"{card} exists; use --force" in refused("--card")
    card.unlink()
    card.mkdir()
    assert "is a folder; give another --output" in refused("--card", "--force")


def test_what_only_a_card_needs_may_be_missing(refused, monkeypatch):
    find = exporters.find_spec
    monkeypatch.setattr(exporters, "find_spec", lambda name: None if name == "jinja2" else find(name))
    monkeypatch.delitem(sys.modules, "tools.companions.cards", raising=False)
    assert refused("--card").endswith("--card needs jinja2; run: pip install 'rvm-export[card]'")
