"""Reports as JUnit XML, which CI systems show: a suite for each artifact, a test case for each output.

They hold no time, date or machine: the same results give the same bytes.
"""

import io
from collections.abc import Sequence

from junitparser import Error, Failure, JUnitXml, SystemOut, TestCase, TestSuite

from parity_tests.judging.drift import Drift
from parity_tests.judging.drift import Error as Limit
from parity_tests.judging.limits import STATISTICS
from parity_tests.reports.parity_report import Refusal, said
from parity_tests.verify import ParityReport
from rvm_model.printable import printable


def to_junit(results: Sequence[ParityReport | Refusal]) -> str:
    """Return the XML. A failed output is a failure. A file that could not be compared is an error."""
    suites = [_refused(result) if isinstance(result, Refusal) else _compared(result) for result in results]
    root = JUnitXml("rvm-export verify")
    for suite in suites:
        # Not `add_testsuite`, which merges two suites that look alike: a file may be given twice.
        root.append(suite)
    root.tests, root.failures, root.errors, root.skipped = (
        sum(counts) for counts in zip(*map(_counts, suites), strict=True)
    )
    text = io.BytesIO()
    root.write(text, pretty=True)  # the standard library's printer, with or without lxml
    return text.getvalue().decode()


def _compared(report: ParityReport) -> TestSuite:
    height, width = report.size
    comparison = report.comparison
    facts: dict[str, str | int] = {
        "format": report.format,
        "runtime": report.runtime,
        "variant": report.variant,
        "refiner": report.refiner,
        "precision": report.precision,
        "weights": report.weights,
        "clip": report.clip,
        "frames": comparison.frames,
        "resolution": f"{width}x{height}",
        "downsample_ratio": f"{report.ratio:g}",
        "device": report.device,
    }
    cases = []
    name = printable(report.place)
    for output, drift in comparison.outputs.items():
        case = _case(name, output, comparison.failures_of(output))
        case.append(SystemOut(_figures(drift, report.limits.get(output))))
        cases.append(case)
    others = comparison.failures_of(None)
    if others:
        cases.append(_case(name, "frames", others))
    return _suite(name, facts, cases)


def _refused(refusal: Refusal) -> TestSuite:
    name = printable(str(refusal.artifact))
    case = TestCase("comparison", classname=name)
    case.append(Error(printable(refusal.error), "not compared"))
    return _suite(name, {}, [case])


def _case(artifact: str, name: str, failures: Sequence[str]) -> TestCase:
    """Return a case with at most one failure: GitLab and Jenkins show only the first, and some count each."""
    case = TestCase(name, classname=artifact)
    if failures:
        case.append(Failure(printable("; ".join(failures)), "parity"))
    return case


def _suite(name: str, facts: dict[str, str | int], cases: Sequence[TestCase]) -> TestSuite:
    suite = TestSuite(name)
    for key, value in facts.items():
        suite.add_property(key, printable(str(value)))
    suite.extend(cases)
    # Not `update_statistics`, which would add a time.
    suite.tests = len(cases)
    suite.failures = sum(case.is_failure for case in cases)
    suite.errors = sum(case.is_error for case in cases)
    suite.skipped = 0
    return suite


def _counts(suite: TestSuite) -> tuple[int, int, int, int]:
    return suite.tests, suite.failures, suite.errors, suite.skipped


def _figures(drift: Drift, limit: Limit | None) -> str:
    figures = [f"{each} abs {said(drift, each)} (limit {said(limit, each)})" for each in STATISTICS]
    return f"{', '.join(figures)}, worst in frame {drift.worst_at[0]}"
