"""`make soak` and `make speed` with the user's weights and clip."""

import subprocess
from pathlib import Path

import pytest

from parity_tests import cases
from rvm_model import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def nothing_shared(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("RVM_SHARED", str(tmp_path / "nothing"))
    for name in ("RVM_WEIGHTS", "RVM_CLIP"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("target", ["soak", "speed"])
def test_make_hands_on_weights_and_clip(target):
    words = ["make", "-C", ROOT, "--dry-run", target, "WEIGHTS=mine.pth", "CLIP=mine.mp4"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    lines = [line for line in shown.splitlines() if "-m tools." in line and "recover_soak" not in line]
    assert len(lines) > 1
    assert all("RVM_WEIGHTS=mine.pth RVM_CLIP=mine.mp4 " in line for line in lines if "tools.tests" not in line)
    assert all("--checkpoint mine.pth" in line for line in shown.splitlines() if "--output dist/speed" in line)


def test_given_weights_and_clip_stand_for_all(nothing_shared, monkeypatch, tmp_path):
    weights, clip = tmp_path / "mine.pth", tmp_path / "mine.mp4"
    weights.touch()
    clip.touch()
    assert not cases.has_real_data()
    monkeypatch.setenv("RVM_WEIGHTS", str(weights))
    assert not cases.has_real_data()
    monkeypatch.setenv("RVM_CLIP", str(clip))
    assert cases.has_real_data()
    assert {cases.trained_weights(name) for name in ("from_tfjs", "consensus_fp16")} == {weights}
    assert {cases.real_clip(name) for name in (cases.REAL_CLIP, cases.REAL_VIDEO)} == {clip}


def test_without_either_the_error_says_what_to_give(nothing_shared):
    for lacking in (lambda: cases.trained_weights("from_tfjs"), cases.real_clip):
        with pytest.raises(FileNotFoundError, match=r"give WEIGHTS= and CLIP= to make"):
            lacking()


def test_seeded_weights_stay_seeded(monkeypatch, tmp_path):
    monkeypatch.setenv("RVM_WEIGHTS", str(tmp_path / "none.pth"))
    cases.case_checkpoint.cache_clear()
    given = cases.case_checkpoint("seeded", "mobilenetv3", "deep_guided_filter")
    assert given.weights_sha256 == load_checkpoint("seeded").weights_sha256
