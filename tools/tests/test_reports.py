"""`rvm-export verify --json --junit --markdown`: the content of the reports, and where they are written."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from junitparser import Error, Failure, JUnitXml
from markdown_it import MarkdownIt

from parity_tests.compare import NAMES, compare
from parity_tests.judging import judge
from parity_tests.judging.drift import Error as Limit
from parity_tests.reports.junit import to_junit
from parity_tests.reports.markdown import to_markdown
from parity_tests.reports.parity_report import Refusal
from parity_tests.verify import ParityReport

OPTIONS = ("--json", "--junit", "--markdown")
ODD = "a|b`c`\\|_d_*<e>&[f](g)\x01\x1b\t\n\udcff&#124;:x:\ufffe.onnx"
READ = "a|b`c`\\|_d_*<e>&[f](g)\\x01\\x1b\\t\\n\\udcff&#124;:x:\\ufffe.onnx"
UNITS = dict.fromkeys(NAMES, Limit(max_abs=0.01, mean_abs=0.01, high_abs=0.01))


def report(name="file.onnx", since=0, **changes) -> ParityReport:
    """Return the report of a clip that moves. A function changes each named output from frame `since` on."""
    pixels = np.random.default_rng(0).random((16, 1, 1, 2, 2), np.float32)
    expected = [dict.fromkeys(NAMES, frame) for frame in pixels]
    given = [
        {output: changes.get(output, np.copy)(array) if k >= since else array for output, array in frame.items()}
        for k, frame in enumerate(expected)
    ]
    comparison, limits = compare(expected, given), judge.limits_of(UNITS, "fp32")
    if not comparison.failures:
        failures = judge.failures(comparison, UNITS, limits, "fp32", trained=False)
        comparison = replace(comparison, failures=tuple(failures))
    return ParityReport(
        artifact=Path(name),
        function="",
        format="onnx",
        runtime="onnxruntime",
        variant="mobilenetv3",
        refiner="deep_guided_filter",
        precision="fp32",
        weights="seeded",
        clip="clip",
        size=(2, 2),
        ratio=0.375,
        device="cpu",
        units=UNITS,
        limits=limits,
        comparison=comparison,
    )


FINE = report()
DRIFTED = report("drifted.onnx", pha=lambda array: array + 1)
STILL = report("still.onnx", r2=np.zeros_like)  # two failures of one output
POISONED = report("poisoned.onnx", r3=lambda array: array * np.nan)
SHORT = report("short.onnx", since=5, r2=lambda array: array[:, :, :1])
REFUSED = Refusal(artifact=Path("none.onnx"), error="cannot read none.onnx: No such file or directory")
ALL = [FINE, DRIFTED, STILL, POISONED, SHORT, REFUSED]


def cells(markdown: str) -> list[list[str]]:
    """Return the rendered rows of the table, the heading first."""
    rows = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and token.level == 4:
            assert {child.type for child in token.children} <= {"text", "text_special"}, "it means something"
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_junit_counts_every_file_and_output():
    parsed = JUnitXml.fromstring(to_junit(ALL).encode())
    assert (parsed.tests, parsed.failures, parsed.errors, parsed.skipped) == (32, 4, 1, 0)
    assert [(suite.name, suite.tests, suite.failures, suite.errors) for suite in parsed] == [
        ("file.onnx", 6, 0, 0),
        ("drifted.onnx", 6, 1, 0),
        ("still.onnx", 6, 1, 0),
        ("poisoned.onnx", 6, 1, 0),
        ("short.onnx", 7, 1, 0),
        ("none.onnx", 1, 0, 1),
    ]
    declared = [(suite.tests, suite.failures, suite.errors) for suite in parsed]
    parsed.update_statistics()
    assert [(suite.tests, suite.failures, suite.errors) for suite in parsed] == declared
    assert (parsed.tests, parsed.failures, parsed.errors) == (32, 4, 1)


def test_junit_says_what_people_are_told():
    suites = {suite.name: suite for suite in JUnitXml.fromstring(to_junit(ALL).encode())}
    for each in ALL[:-1]:
        failed = {case.name: case.result[0] for case in suites[each.artifact.name] if case.result}
        assert "; ".join(each.comparison.failures) == "; ".join(result.message for result in failed.values())
        assert all(type(result) is Failure for result in failed.values())
        assert [case.name for case in suites[each.artifact.name]][:6] == list(NAMES)
    assert [case.name for case in suites["still.onnx"] if case.is_failure] == ["r2"]
    assert [case.name for case in suites["short.onnx"] if case.is_failure] == ["frames"]
    (case,) = suites["none.onnx"]
    assert [(type(result), result.message) for result in case.result] == [(Error, REFUSED.error)]
    facts = {each.name: each.value for each in suites["file.onnx"].properties()}
    assert (facts["precision"], facts["downsample_ratio"], facts["frames"]) == ("fp32", "0.375", "16")
    (poisoned,) = [case for case in suites["poisoned.onnx"] if case.is_failure]
    assert (poisoned.name, poisoned.classname) == ("r3", "poisoned.onnx")
    assert re.fullmatch(
        r"max abs nan \(limit \S+\), mean abs nan \(limit \S+\), high abs nan \(limit \S+\), worst in frame 0",
        poisoned.system_out,
    )


def test_one_file_twice_is_two_suites():
    assert len(JUnitXml.fromstring(to_junit([FINE, FINE, REFUSED, REFUSED]).encode())) == 4


def test_no_name_breaks_junit():
    odd = replace(FINE, artifact=Path(ODD), clip=ODD)
    refused = Refusal(artifact=Path(ODD), error=f"{ODD} is damaged")
    compared, other = JUnitXml.fromstring(to_junit([odd, refused]).encode())
    assert compared.name == other.name == READ
    assert {case.classname for suite in (compared, other) for case in suite} == {READ}
    assert [case.result[0].message for case in other] == [f"{READ} is damaged"]


@pytest.mark.parametrize("render", [to_junit, to_markdown])
def test_nothing_of_the_time_or_the_machine_is_in_it(render):
    text = render(ALL)
    assert text == render(ALL)
    for word in ("time=", "timestamp", "date", "host"):
        assert word not in text


def test_markdown_has_a_row_for_each_file():
    heading, *rows = cells(to_markdown(ALL))
    by_name = {row[0]: dict(zip(heading, row, strict=True)) for row in rows}
    assert [row[0] for row in rows] == [str(each.artifact) for each in ALL]
    assert [row[-1] for row in rows] == ["ok", *["FAILED"] * 4, "could not be compared"]
    fine, drifted, poisoned = (by_name[f"{name}.onnx"] for name in ("file", "drifted", "poisoned"))
    assert (fine["format"], fine["precision"], fine["clip"], fine["ratio"]) == ("onnx", "fp32", "clip", "0.375")
    assert (fine["fgr max"], fine["fgr mean"], fine["yardsticks"]) == ("0.0e+00", "0.0e+00", "0.00")
    assert (drifted["pha max"], drifted["pha mean"], drifted["yardsticks"]) == ("1.0e+00", "1.0e+00", "100.00")
    assert poisoned["states max"] == poisoned["yardsticks"] == "nan", "though three of the four are numbers"
    assert set(by_name["none.onnx"].values()) == {"none.onnx", "-", "could not be compared"}


def test_markdown_lists_what_failed():
    html = MarkdownIt("commonmark").enable("table").render(to_markdown(ALL))
    for each in ALL[1:-1]:
        assert f"<h3>{each.artifact}</h3>" in html
        assert all(f"<li>{failure}</li>" in html for failure in each.comparison.failures)
    assert f"<li>{REFUSED.error}</li>" in html
    assert html.count("<li>") == 7
    assert "<h3>" not in MarkdownIt("commonmark").render(to_markdown([FINE]))


def test_no_name_breaks_markdown():
    odd = replace(DRIFTED, artifact=Path(ODD), clip=ODD)
    text = to_markdown([odd, Refusal(artifact=Path(ODD), error=f"{ODD} is damaged")])
    heading, *rows = cells(text)
    assert [row[0] for row in rows] == [READ, READ]
    assert rows[0][heading.index("clip")] == READ
    assert {len(row) for row in rows} == {len(heading)}
    escaped = READ.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"<li>{escaped} is damaged</li>" in MarkdownIt("commonmark").enable("table").render(text)
    text.encode()


def test_a_file_without_fgr_has_none_in_the_table():
    outputs = {name: drift for name, drift in FINE.comparison.outputs.items() if name != "fgr"}
    alone = replace(FINE, comparison=replace(FINE.comparison, outputs=outputs))
    heading, row = cells(to_markdown([alone]))
    assert [row[heading.index(f"fgr {figure}")] for figure in ("max", "mean")] == ["-", "-"]


def test_all_three_are_written_whole(seeded_artifacts, run, tmp_path):
    bad, files = tmp_path / "bad|\x01.onnx", [tmp_path / "new" / "folder" / name for name in ("j", "x", "m")]
    poisoned = onnx.load(seeded_artifacts["onnx"])
    del poisoned.metadata_props[:]
    (weight,) = [each for each in poisoned.graph.initializer if each.name == "decoder.decode0.conv.0.x.bias"]
    weight.raw_data = np.full(weight.dims, np.nan, np.float32).tobytes()
    onnx.save(poisoned, tmp_path / "poisoned.onnx")
    words = [word for pair in zip(OPTIONS, files, strict=True) for word in pair]
    result = run("verify", seeded_artifacts["onnx"], tmp_path / "poisoned.onnx", bad, "--checkpoint", "seeded", *words)
    assert (result.code, result.out) == (2, "")
    parsed = JUnitXml.fromfile(str(files[1]))
    good, nan, refused = parsed
    assert (good.failures, good.errors, refused.errors, parsed.errors) == (0, 0, 1, 1)
    assert nan.failures == parsed.failures > 0
    assert [row[-1] for row in cells(files[2].read_text())[1:]] == ["ok", "FAILED", "could not be compared"]
    assert sorted(file.name for file in files[0].parent.iterdir()) == ["j", "m", "x"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new", "poisoned.onnx"]


@pytest.mark.parametrize(("option", "start"), [("--junit", "<?xml"), ("--markdown", "| file"), ("--json", "[")])
def test_each_can_have_stdout(option, start, run, tmp_path):
    result = run("verify", tmp_path / "none.onnx", option, "-")
    assert result.code == 2
    assert result.out.startswith(start)
    assert result.out.endswith("\n")


@pytest.fixture
def unplayed(monkeypatch, seeded_artifacts, tmp_path):
    """Return a file, and fail if it is played: wrong options must be reported before that."""

    def play(*_):
        pytest.fail("it was verified first")

    monkeypatch.setattr("tools.commands.verify._verify_one", play)
    return Path(shutil.copy(seeded_artifacts["onnx"], tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "-", "--junit", "-"], "--json - and --junit - cannot all have stdout"),
        (["--markdown", "-", "--junit", "-", "--json", "x"], "--junit - and --markdown - cannot all have stdout"),
        (["--json", "{}/x", "--markdown", "{}/y/../x"], "would overwrite --json {}/x"),
        (["--junit", "{}/rvm_mobilenetv3_fp32_seeded.onnx"], "would overwrite {}/rvm"),
        (["--junit", "{}"], "is a folder; give a file, or - for stdout"),
        (["--markdown", "/dev/null"], "is no regular file"),
        (["--markdown", "{}/rvm_mobilenetv3_fp32_seeded.onnx/x"], "give --markdown another place"),
        (["--junit", "/proc/self/report.xml"], "cannot write into /proc/self"),
        (["--junit", "{}/" + 300 * "x"], "File name too long"),
    ],
)
def test_places_that_cannot_be_written_are_refused_first(words, message, unplayed, run, tmp_path):
    result = run("verify", unplayed, *(word.format(tmp_path) for word in words))
    assert (result.code, result.out) == (2, "")
    assert message.format(tmp_path) in result.error
    assert [*tmp_path.iterdir()] == [unplayed]
