"""README and docs are correct, in both languages."""

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest

from exporters import FORMATS
from exporters.onnx import OnnxSpec
from exporters.onnx.profiles import PROFILES
from exporters.spec import Fixed
from rvm_model import __version__

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs"))
import formats_table  # noqa: E402
from cli_reference import PAGE, commands, render  # noqa: E402
from typer.main import get_command  # noqa: E402

import tools.cli.main  # noqa: E402, F401 - adds the commands
from tools.cli.options import app  # noqa: E402

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted(
        [*(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md")), *(ROOT / "docs").rglob("*.md")]
    )
    if "node_modules" not in path.parts
}
PAIRS = {"README.md": "README.zh.md"} | {
    name.replace("docs/zh/", "docs/"): name for name in PAGES if name.startswith("docs/zh/")
}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\]\(((?!https?:|#|README)[^)]*)\)")

COMMANDS = dict(commands(get_command(app)))
LINES = sorted(
    {
        line.strip().removeprefix("- run: ")
        for text in PAGES.values()
        for language, block in FENCED.findall(text)
        if language in ("sh", "yaml")
        for line in block.splitlines()
    }
)


def lines(word: str) -> list[str]:
    """Return the lines of all shell blocks that begin with a word."""
    return [line for line in LINES if line.startswith(f"{word} ")]


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("name", PAIRS)
def test_both_languages_have_the_same_code_headings_and_links(name):
    english, chinese = PAGES[name], PAGES[PAIRS[name]]
    assert FENCED.findall(english) == FENCED.findall(chinese)
    prose = [FENCED.sub("", text) for text in (english, chinese)]
    levels = [[len(heading) for heading in re.findall(r"^#+", text, re.M)] for text in prose]
    assert levels[0] == levels[1]
    assert targets(name) == targets(PAIRS[name])
    assert set(CODE.findall(prose[0])) == set(CODE.findall(prose[1]))


def targets(name: str) -> list[str]:
    """Return the files that a page links to. A page in Chinese counts as the English one."""
    folder = (ROOT / name).parent
    paths = ((folder / link.partition("#")[0]).resolve() for link in LINK.findall(FENCED.sub("", PAGES[name])))
    return sorted(str(path.relative_to(ROOT)).replace("docs/zh/", "docs/") for path in paths)


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_leads_somewhere(name):
    for target in LINK.findall(FENCED.sub("", PAGES[name])):
        assert ((ROOT / name).parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("line", lines("rvm-export"))
def test_commands_and_their_options_exist(line):
    words = shlex.split(re.split(r" >>? ", line)[0])
    names = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
    command = COMMANDS[max(names, key=len)]
    assert len(names) > 1, "no such command"
    options = {switch: each for each in command.params for switch in (*each.opts, *each.secondary_opts)}
    rest = iter(words[len(max(names, key=len).split()) :])
    for word in rest:
        if word.startswith("--"):
            option = options[word]
            if not option.is_flag:
                value = next(rest)
                assert not value.startswith("--"), f"{word} has no value"
                choices = (option.metavar or "").split("|")
                if all(re.fullmatch(r"[a-z0-9-]+", choice) for choice in choices):
                    assert value in choices, f"{word} {value}"


@pytest.mark.parametrize("name", PAGES)
def test_options_in_the_text_exist(name):
    known = {switch for each in COMMANDS.values() for option in each.params for switch in option.opts}
    known |= {switch for each in COMMANDS.values() for option in each.params for switch in option.secondary_opts}
    code = CODE.findall(FENCED.sub("", PAGES[name]))
    assert {word for text in code for word in re.findall(r"^`(--[a-z][\w-]*)", text)} <= known | {"--help"}


@pytest.mark.parametrize("line", lines("make"))
def test_make_targets_and_variables_exist(line):
    makefile = (ROOT / "Makefile").read_text()
    for word in shlex.split(line, comments=True)[1:]:
        name, is_variable, _ = word.partition("=")
        assert re.search(rf"\$\(.*\b{name}\b.*\)" if is_variable else rf"^{name}:", makefile, re.M), word


def test_installed_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        each
        for text in PAGES.values()
        for group in re.findall(r"rvm-export\[([\w,-]+)\]", text)
        for each in group.split(",")
    }
    assert named
    assert named <= {*extras}


def test_modules_that_are_run_exist():
    modules = {module for text in PAGES.values() for module in re.findall(r"python -m ([\w.]+)", text)}
    assert modules
    assert all(find_spec(module) for module in modules)


def test_the_page_of_commands_is_fresh():
    assert PAGE.read_text() == render(), "run: python docs/cli_reference.py"


def test_the_table_of_formats_is_fresh():
    assert formats_table.PAGE.read_text() == formats_table.render(), "run: python docs/formats_table.py"


def test_the_table_of_formats_says_what_formats_are():
    (rows,) = re.findall(r"(?:^\|.*\n)+", formats_table.render(), re.M)
    titles, _, *cells = [[cell.strip() for cell in row.strip("|\n").split("|")] for row in rows.splitlines()]
    table = {row[0].partition("]")[0].strip("["): dict(zip(titles, row, strict=True)) for row in cells}
    assert {*table} == {description.title for description in FORMATS.values()}
    expected = {
        "ONNX": ("yes", "yes", "yes", "yes", "yes", "", "yes", "yes"),
        "CoreML": ("", "yes", "yes", "yes", "yes", "yes", "yes", "yes"),
        "ExecuTorch": ("", "yes", "yes", "yes", "", "", "", "yes"),
        "LiteRT": ("", "yes", "yes", "yes", "yes", "", "yes", "yes"),
        "ncnn": ("at one ratio", "yes", "yes", "yes", "", "", "", "yes"),
        "OpenVINO": ("yes", "yes", "yes", "yes", "", "yes", "", "yes"),
        "TorchScript": ("yes", "", "yes", "yes", "", "", "", "yes, with `--trust`"),
    }
    for title, row in expected.items():
        assert tuple(table[title].values())[1:9] == row
    assert table["CoreML"]["verified in"] == "`evaluator`, `evaluator-fp16`"
    assert all(row["verified in"] and row["not run on"] for row in table.values())


@pytest.mark.parametrize("folder", ["docs", "docs/zh"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_formats_page_names_its_options(name, folder):
    common = PAGES[f"{folder}/formats/index.md"]
    own = PAGES[f"{folder}/formats/{name}.md"]
    for option in COMMANDS[f"rvm-export {name}"].params:
        assert option.name == "help" or f"`{option.opts[0]}`" in own + common, option.opts[0]


@pytest.mark.parametrize("folder", ["docs", "docs/zh"])
def test_runtimes_are_named(folder):
    text = PAGES[f"{folder}/tasks/verify.md"]
    for description in FORMATS.values():
        assert ("、" if folder == "docs/zh" else ", ").join(f"`{each}`" for each in description.runtimes) in text


def test_every_figures_command_is_named():
    text = PAGES["docs/tasks/figures.md"]
    for path in (ROOT / "tools" / "measure" / "results").glob("*.csv"):
        assert f"`{path.name}`" in text


def test_every_format_is_in_the_table():
    for name, description in FORMATS.items():
        size = {"fixed": Fixed(width=1280, height=720, ratio=0.375)} if description.one_size else {}
        spec = description.spec(
            variant="mobilenetv3", refiner="deep_guided_filter", precision=description.precisions[0], **size
        )
        for page in ("README.md", "docs/formats/index.md"):
            assert f"`rvm-export {name}`" in PAGES[page]
            assert f"`{spec.file_name(description.suffix, seeded=False)}`" in PAGES[page]


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("page", ["docs/formats/onnx.md", "docs/zh/formats/onnx.md"])
def test_the_profile_table_says_what_profiles_set(name, page):
    (row,) = [line for line in PAGES[page].splitlines() if line.startswith(f"| `{name}` |")]
    defaults = {each.name: each.default for each in fields(OnnxSpec)}
    choices = [choice for choice in PROFILES[name].choices if choice.value != defaults[choice.option]]
    switches = {f"--{choice.option.replace('_', '-')}": choice.value for choice in choices}
    said = {switch if value is True else f"{switch} {value}" for switch, value in switches.items()}
    assert set(re.findall(r"`(--[^`]+)`", row)) == said
    assert (("needs a size" in row) or ("需要给出尺寸" in row)) == PROFILES[name].one_size


def test_the_site_builds_without_a_warning(require, tmp_path):
    require("docs", find_spec("mkdocs") is not None, "mkdocs is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    pages = [*tmp_path.rglob("*.html")]
    assert len(pages) > len(PAGES) - len(PAIRS)
    assert not [page for page in pages if re.search(r'<(script|img|iframe)[^>]*src="https?:', page.read_text())]


def test_make_shows_its_targets():
    shown = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    for target in ("export", "test", "check", "docs", "soak"):
        assert re.search(rf"^  make {target} ", shown, re.M)


def test_the_changelog_is_open_or_at_this_version():
    heading = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert heading is not None
    assert heading[1] in ("Unreleased", __version__)
