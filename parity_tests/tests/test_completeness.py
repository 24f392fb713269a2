"""Check that a format has all its parts. Run this after adding a format's folder."""

import re
import tomllib
from pathlib import Path

import pytest

import exporters
from exporters import FORMATS, load_exporter, load_runtime
from parity_tests.judging.limits import FACTORS, STATISTICS

PROJECT_FOLDER = Path(__file__).parents[2]
PROJECT = tomllib.loads((PROJECT_FOLDER / "pyproject.toml").read_text())
EVERY_RUNTIME = pytest.mark.parametrize(
    ("name", "runtime"), [(name, runtime) for name, description in FORMATS.items() for runtime in description.runtimes]
)


def test_its_name_is_listed():
    folders = (PROJECT_FOLDER / "exporters").glob("*/__init__.py")
    formats = {path.parent.name for path in folders if (path.parent / "export.py").exists()}
    assert formats == {*exporters.NAMES} == {*FORMATS}
    assert list(exporters.NAMES) == sorted(exporters.NAMES)


@pytest.mark.parametrize("name", FORMATS)
def test_it_exports(name):
    assert callable(load_exporter(name).export)


@EVERY_RUNTIME
def test_it_runs(name, runtime, request):
    if runtime == "openvino":
        request.getfixturevalue("openvino")
    module = load_runtime(name, runtime)
    assert all(callable(getattr(module, function)) for function in ("inspect", "load", "to_numpy"))


@EVERY_RUNTIME
def test_its_extra_installs_what_it_needs(name, runtime):
    project, info = PROJECT["project"], FORMATS[name].runtimes[runtime]
    extras = project["optional-dependencies"]
    for needs in (info, FORMATS[name]):
        installed = [*project["dependencies"], *extras[needs.extra]]
        installed += [each for mine in re.findall(r"rvm-export\[(\w+)\]", " ".join(installed)) for each in extras[mine]]
        by_hand = FORMATS[name].afterwards or ""
        assert all(
            package in {re.match(r"[\w-]+", requirement)[0].replace("-", "_") for requirement in installed}
            or package in by_hand
            for package in needs.packages
        )


@pytest.mark.parametrize("name", FORMATS)
def test_it_has_a_contract(name):
    independent = PROJECT["tool"]["importlinter"]["contracts"][1]["modules"]
    assert f"exporters.{name}" in independent


@pytest.mark.parametrize("name", FORMATS)
def test_every_precision_is_judged(name):
    description = FORMATS[name]
    assert {*description.values} == {*description.precisions}
    assert {*description.values.values()} <= {"float32", "float16", "uint8"}
    assert {(precision, each) for precision in description.precisions for each in STATISTICS} <= FACTORS.keys()


@pytest.mark.parametrize("key", FACTORS, ids="-".join)
def test_every_factor_says_why(key):
    factor = FACTORS[key]
    assert len(factor.why) > 20
    assert 0 < factor.worst < factor.limit


@pytest.mark.parametrize("name", FORMATS)
def test_its_model_cards_say_how_it_is_called(name):
    template = (Path(load_exporter(name).__file__).parent / "card.md.jinja").read_text()
    assert all(f"{{% block {block} %}}" in template for block in ("consumer", "load", "loop", "limits"))
