"""What the README says is so, in both languages."""

import re
import shlex
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from exporters import FORMATS
from exporters.onnx import OnnxSpec
from exporters.onnx.profiles import PROFILES
from exporters.spec import Fixed
from rvm_model import __version__

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
BLOCKS = re.compile(r"```sh\n(.*?)```", re.DOTALL)
COMMANDS = [line for block in BLOCKS.findall(ENGLISH) for line in block.splitlines() if line.startswith("rvm-export")]


def test_both_languages_have_the_same_commands_headings_and_links():
    assert BLOCKS.findall(ENGLISH) == BLOCKS.findall(CHINESE)
    assert [len(heading) for heading in re.findall(r"^#+", ENGLISH, re.M)] == [
        len(heading) for heading in re.findall(r"^#+", CHINESE, re.M)
    ]
    links = re.compile(r"\]\(((?!README).*?)\)")
    assert sorted(links.findall(ENGLISH)) == sorted(links.findall(CHINESE))
    code = re.compile(r"`[^`\n]+`")
    assert set(code.findall(ENGLISH)) == set(code.findall(CHINESE))


def test_every_relative_link_leads_somewhere():
    for name in ("README.md", "README.zh.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:)(.*?)\)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_their_options_exist(line, run):
    _, command, *words = shlex.split(line)
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    help_text = run(command, "--help").out
    assert options <= set(re.findall(r"--[\w-]+", help_text))


def test_every_format_is_in_the_table():
    for name, description in FORMATS.items():
        assert f"`rvm-export {name}`" in ENGLISH
        size = {"fixed": Fixed(width=1280, height=720, ratio=0.375)} if description.one_size else {}
        spec = description.spec(
            variant="mobilenetv3", refiner="deep_guided_filter", precision=description.precisions[0], **size
        )
        assert f"`{spec.file_name(description.suffix, seeded=False)}`" in ENGLISH


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_the_profile_table_says_what_profiles_set(name, text):
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    defaults = {each.name: each.default for each in fields(OnnxSpec)}
    choices = [choice for choice in PROFILES[name].choices if choice.value != defaults[choice.option]]
    switches = {f"--{choice.option.replace('_', '-')}": choice.value for choice in choices}
    said = {switch if value is True else f"{switch} {value}" for switch, value in switches.items()}
    assert set(re.findall(r"`(--[^`]+)`", row)) == said
    assert (("needs a size" in row) or ("需要给出尺寸" in row)) == PROFILES[name].one_size


def test_make_shows_its_targets():
    shown = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    for target in ("export", "test", "check", "soak"):
        assert re.search(rf"^  make {target} ", shown, re.M)


def test_the_changelog_is_open_or_at_this_version():
    heading = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert heading is not None
    assert heading[1] in ("Unreleased", __version__)
