"""Check what a machine can check of CONTRIBUTING's "Prose": how docstrings begin, and how long sentences are.

Run it as `python docs/prose.py`. It prints a line for each finding, and exits with 1 if there is one.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
WEAK_BEGINNING = re.compile(r"(What|Of|The same|Whether)\b")
MOST_WORDS = 40
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def weak_docstrings(path: Path) -> Iterator[str]:
    """Yield a finding for each docstring that does not begin with a verb or a name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            beginning = WEAK_BEGINNING.match(ast.get_docstring(node) or "")
            if beginning:
                line = 1 if isinstance(node, ast.Module) else node.lineno
                yield f"{path.relative_to(ROOT)}:{line}: docstring begins with {beginning[0]!r}; begin with a verb"


def long_sentences(path: Path) -> Iterator[str]:
    """Yield a finding for each sentence of a Markdown file that has more than `MOST_WORDS` words."""
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8")):
        if token.type == "inline":
            for sentence in SENTENCE_END.split(_text(token)):
                words = sum(any(map(str.isalnum, word)) for word in sentence.split())
                if words > MOST_WORDS:
                    line = token.map[0] + 1 if token.map else 1
                    yield f"{path.relative_to(ROOT)}:{line}: sentence of {words} words: {sentence[:60]}..."


def _text(inline: Token) -> str:
    """Return the words that a reader sees: no addresses of links."""
    return "".join(" " if child.type == "softbreak" else child.content for child in inline.children or [])


def main() -> int:
    """Check all files that git tracks. Return the exit code."""
    # S607: git is on the PATH of whoever has a checkout.
    tracked = subprocess.run(["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    checks = {".py": weak_docstrings, ".md": long_sentences}
    paths = [ROOT / name for name in tracked.stdout.splitlines()]
    findings = [finding for path in paths if path.exists() for finding in checks[path.suffix](path)]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
