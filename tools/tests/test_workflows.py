"""CI's workflows: a linter finds nothing in them, and a tag makes a release that anyone can check."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"
ZIZMOR = Path(sysconfig.get_path("scripts")) / "zizmor"

pytestmark = pytest.mark.timeout(120)


def lint(path):
    return subprocess.run([ZIZMOR, "--offline", "--quiet", path], capture_output=True, text=True, timeout=60)


def test_the_linter_finds_nothing():
    process = lint(WORKFLOWS)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_linter_would_find_an_action_that_can_be_moved(tmp_path):
    text = (WORKFLOWS / "release.yml").read_text()
    commit = text.partition("actions/checkout@")[2].split()[0]
    (tmp_path / "release.yml").write_text(text.replace(commit, "v4"))
    assert lint(tmp_path / "release.yml").returncode != 0


def test_a_tag_makes_a_release_that_is_signed_checked_and_attested():
    (job,) = yaml.safe_load((WORKFLOWS / "release.yml").read_text())["jobs"].values()
    assert job["permissions"] == {"contents": "write", "id-token": "write", "attestations": "write"}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert "SIGN=keyless" in commands[0]
    assert "release verify dist/release --no-play --identity" in commands[1]
    assert commands[2].startswith("gh release create")
    assert "dist/release/*" in commands[2]
    (provenance,) = [step for step in job["steps"] if "attest-build-provenance" in step.get("uses", "")]
    assert provenance["with"]["subject-path"] == "dist/release/*"
