"""Foreign text on its way to people: escape sequences act on no terminal, page or report."""

import json
import os
import re
import subprocess
import sys
import warnings

import onnx
import pytest
from junitparser import JUnitXml

from exporters import load_exporter
from exporters.onnx import OnnxSpec
from parity_tests.reports.junit import to_junit
from parity_tests.reports.markdown import to_markdown
from rvm_model import load_checkpoint
from rvm_model.printable import one_line, printable
from rvm_model.video.progress import frames_progress
from tools.cli import main
from tools.companions import cards
from tools.jobs.board import Board
from tools.pages.render import render
from tools.shared.console import say_error, say_warning, stderr_console, working
from tools.shared.stdout import print_result
from tools.tests.test_console import COMMAND, on_a_terminal
from tools.tests.test_reports import REFUSED, report

CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"  # OSC 52: puts text into the clipboard, from where it is pasted into a shell
HOSTILE = f"a{CLIPBOARD}\x1b[2J\x9b31m\u202egnp.b\u2066\x7f"
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
OF_RICH = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
"""Commands to the terminal that rich sends itself: colours, the cursor and erasing. None of them is an OSC."""


def acting(drawn: str) -> list[str]:
    return ACTS.findall(OF_RICH.sub("", drawn))


@pytest.fixture(scope="module")
def hostile_onnx(tmp_path_factory):
    """Return an ONNX file whose name and metadata hold escape sequences."""
    folder = tmp_path_factory.mktemp("hostile")
    spec = OnnxSpec(variant="mobilenetv3", refiner="fast_guided_filter", precision="fp16")
    load_exporter("onnx").export(load_checkpoint("seeded", refiner=spec.refiner), spec, folder / "plain.onnx")
    model = onnx.load(folder / "plain.onnx")
    entry = next(each for each in model.metadata_props if each.key == "producer")
    entry.value = HOSTILE
    model.metadata_props.add(key=HOSTILE, value="value")
    path = folder / f"{HOSTILE}.onnx"
    onnx.save(model, path)
    return path


def test_escape_sequences_in_a_name_and_in_metadata_do_not_reach_the_terminal(hostile_onnx):
    code, _, drawn = on_a_terminal([*COMMAND, "info", str(hostile_onnx)], COLUMNS="400")
    assert code == 0
    assert acting(drawn) == []
    assert "a\\x1b]52;c;ZXZpbA==\\x07\\x1b[2J\\x9b31m\\u202egnp.b\\u2066\\x7f.onnx" in drawn
    assert "\\x1b[2J\\x9b31m" in drawn[drawn.index("producer") :]


@pytest.mark.parametrize(
    "words",
    [
        ["info"],
        *(
            pytest.param(words, marks=pytest.mark.long)
            for words in (["verify"], ["recover"], ["onnx", "--checkpoint"], ["matte", "--model"])
        ),
    ],
    ids=" ".join,
)
def test_an_error_that_names_a_hostile_file_is_one_line_that_does_not_act(words, tmp_path):
    name = f"{HOSTILE}\nrvm-export: all is well\nb.pth"
    command = [*COMMAND, *words, str(tmp_path / name)]
    command += ["clip.mp4", "--alpha", str(tmp_path / "x.png")] if words[0] == "matte" else []
    code, _, drawn = on_a_terminal(command)
    assert code == 2, drawn
    assert acting(drawn) == []
    assert not any(line.strip() == "rvm-export: all is well" for line in drawn.splitlines())
    assert drawn.count("rvm-export: error: ") == 1


def test_json_is_exact_and_a_path_is_exact_on_a_pipe_and_escaped_on_a_terminal(hostile_onnx, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    asked = subprocess.run(
        [*COMMAND, "info", hostile_onnx, "--json"], capture_output=True, timeout=120, env=environment
    )
    facts = json.loads(asked.stdout)
    assert facts["artifact"] == str(hostile_onnx)
    assert facts["metadata"]["producer"] == HOSTILE
    path = tmp_path / f"{HOSTILE}.txt"
    code = f"from tools.shared.stdout import print_result; print_result({str(path)!r})"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, env=environment)
    assert piped.stdout == os.fsencode(path) + b"\n"
    _, _, drawn = on_a_terminal([sys.executable, "-c", f"import sys; sys.stdout = sys.stderr; {code}"])
    assert drawn.rstrip() == printable(str(path))


def test_an_undecodable_path_is_printed_as_its_bytes(capfdbinary):
    print_result("out/caf\udce9.onnx")
    assert capfdbinary.readouterr().out == b"out/caf\xe9.onnx\n"


def test_every_door_to_stderr_escapes(capfd):
    console = stderr_console()
    console.print(HOSTILE, soft_wrap=True)
    console.print(Board(console, [HOSTILE]).get_renderable())
    with working(console, HOSTILE) as stage:
        stage.update(f"other {HOSTILE}", HOSTILE)
    with frames_progress(HOSTILE, 1) as done:
        done(1)
    say_error(HOSTILE, 1)
    say_warning(HOSTILE)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(warnings, "showwarning", main._show_warning)
        warnings.simplefilter("always")
        warnings.warn(HOSTILE, stacklevel=1)
    err = capfd.readouterr().err
    assert acting(err) == []
    assert err.count("\\x1b]52;") == 8


def test_a_message_that_quotes_a_long_text_is_cut(capfd):
    say_error(f"model.onnx holds {'x' * 1_000_000}", 1)
    say_warning("x" * 1_000_000)
    lines = capfd.readouterr().err.splitlines()
    assert [len(line) < 2000 and line.endswith("xxx...") for line in lines] == [True, True]
    assert lines[0].startswith("rvm-export: error: model.onnx holds xxx")


@pytest.mark.parametrize("write", [to_junit, to_markdown])
def test_reports_are_escaped(write):
    text = write([report(HOSTILE), type(REFUSED)(artifact=REFUSED.artifact, error=HOSTILE)])
    assert ACTS.findall(text) == []
    if write is to_junit:
        names = [suite.name for suite in JUnitXml.fromstring(text.encode())]
        assert names[0] == printable(HOSTILE)


def test_pages_are_escaped(tmp_path, monkeypatch):
    package = tmp_path / "hostile_page"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "page.html.jinja").write_text(
        '{% extends "base.html.jinja" %}'
        "{% block title %}{{ name }}{% endblock %}{% block main %}{{ name }}{% endblock %}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    page = render("hostile_page", "page.html.jinja", name=f"{HOSTILE}<script>")
    assert ACTS.findall(page) == []
    assert page.count("\\x1b]52;") == 2
    assert "<script" not in page


def test_model_cards_are_escaped():
    card = cards._environment().from_string("# {{ name }}\n").render(name=f"{HOSTILE}\n# Another heading")
    assert ACTS.findall(card) == []
    assert card.count("\n") == 1


def test_one_line_is_one_line():
    assert one_line("a\n b\t\x1bc\u2028d") == "a b \\x1bc d"
