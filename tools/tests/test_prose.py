"""The check of prose finds weak docstrings and long sentences, and nothing else."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def prose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("prose", ROOT / "docs" / "prose.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_a_weak_docstring_is_found_with_its_line(prose: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        '"""Good."""\n\n\ndef f():\n    """Whether it rains."""\n\n\ndef g():\n    """Return what it is."""\n'
    )
    assert list(prose.weak_docstrings(path)) == ["a.py:4: docstring begins with 'Whether'; begin with a verb"]


def test_a_long_sentence_is_found_in_text_and_tables_but_not_in_code(prose: ModuleType, tmp_path: Path) -> None:
    sentence = " ".join(["word"] * 41)
    path = tmp_path / "a.md"
    path.write_text(f"# Title\n\n{sentence}. Short.\n\n| a |\n|---|\n| {sentence} |\n\n```\n{sentence}\n```\n")
    assert [finding.split(": ")[0] for finding in prose.long_sentences(path)] == ["a.md:3", "a.md:7"]


def test_forty_words_and_the_address_of_a_link_are_no_finding(prose: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"{' '.join(['word'] * 39)} [link](https://example.com/a-b-c).\n")
    assert list(prose.long_sentences(path)) == []
