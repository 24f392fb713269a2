"""CI's workflows, the action for others' workflows, and the Dockerfile: linters find nothing, and the action runs."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from exporters.tests.onnx_files import export

ROOT = Path(__file__).parents[2]
WORKFLOWS, ACTION, DOCKERFILE = ROOT / ".github" / "workflows", ROOT / "action.yml", ROOT / "Dockerfile"
ZIZMOR, HADOLINT = (Path(sysconfig.get_path("scripts")) / name for name in ("zizmor", "hadolint"))

pytestmark = pytest.mark.timeout(120)


def lint(path):
    return subprocess.run([ZIZMOR, "--offline", "--quiet", path], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", [WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_the_linter_finds_nothing(path):
    process = lint(path)
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


@pytest.fixture
def act(tmp_path):
    """Return a function that runs the action's step Verify, with this checkout in place of what it installs."""
    (step,) = [each for each in yaml.safe_load(ACTION.read_text())["runs"]["steps"] if each.get("name") == "Verify"]
    program = tmp_path / "rvm-export" / "bin" / "rvm-export"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nfrom tools.cli.main import main\nmain()\n")
    program.chmod(0o755)
    summary = tmp_path / "summary"

    def run(files, **more):
        given = {"FILES": files, "CHECKPOINT": "seeded", "JUNIT": "parity.xml", "TRUST": "false", **more}
        assert given.keys() == step["env"].keys()
        places = {"RUNNER_TEMP": tmp_path, "GITHUB_STEP_SUMMARY": summary, "PYTHONPATH": ROOT}
        environment = os.environ | given | {key: str(value) for key, value in places.items()}
        # As GitHub runs `shell: bash`.
        words = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
        return done, summary.read_text() if summary.exists() else ""

    return run


def test_the_action_writes_junit_and_a_summary(act, tmp_path):
    export(tmp_path).rename(tmp_path / "a.onnx")
    done, summary = act("*.onnx")
    assert done.returncode == 0, done.stderr
    assert "a.onnx" in summary
    assert "a.onnx" in (tmp_path / "parity.xml").read_text()


@pytest.mark.long
def test_the_action_takes_several_files(act, tmp_path):
    for name in ("a", "b"):
        export(tmp_path).rename(tmp_path / f"{name}.onnx")
    done, summary = act("a.onnx\nb.onnx\n")
    assert done.returncode == 0, done.stderr
    for text in (summary, (tmp_path / "parity.xml").read_text()):
        assert "a.onnx" in text
        assert "b.onnx" in text


@pytest.mark.long
def test_the_action_fails_with_other_weights(act, tmp_path):
    path = export(tmp_path)
    message = onnx.load(path)
    del message.metadata_props[:]
    weight = max(message.graph.initializer, key=lambda each: len(each.raw_data))
    weight.raw_data = (np.frombuffer(weight.raw_data, np.float32) * 1.01).tobytes()
    onnx.save(message, path)
    done, summary = act(path.name)
    assert done.returncode == 1
    assert path.name in summary


def test_an_action_that_pastes_its_inputs_into_the_shell_would_be_found(tmp_path):
    text = ACTION.read_text()
    (tmp_path / "action.yml").write_text(
        text.replace('--checkpoint "$CHECKPOINT"', '--checkpoint "${{ inputs.checkpoint }}"')
    )
    assert lint(tmp_path / "action.yml").returncode != 0


def instructions():
    """Return the Dockerfile's instructions, each as its word and its rest."""
    lines = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    return [line.split(maxsplit=1) for line in lines if line and line[0] != "#"]


def test_the_image_is_made_in_two_stages_and_does_not_run_as_root():
    words = [word for word, _ in instructions()]
    assert words.count("FROM") == 2
    last = instructions()[len(words) - words[::-1].index("FROM") :]
    assert int(dict(last)["USER"]) > 0
    assert dict(last)["ENTRYPOINT"] == '["rvm-export"]'
    assert [rest for word, rest in last if word == "COPY"] == ["--from=build /opt/rvm-export /opt/rvm-export"]


def test_the_image_gets_all_that_the_wheel_is_built_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = " ".join(rest for word, rest in instructions() if word == "COPY").split()
    wanted = {
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        project["project"]["readme"],
        "LICENSE",
    }
    assert wanted <= {*copied}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert wanted | {"pyproject.toml", "requirements.lock"} == kept


def test_hadolint_finds_nothing_in_the_dockerfile(require):
    require("hadolint", HADOLINT.is_file(), "hadolint is not installed")
    process = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stdout
