"""Publish the project's files that pages link to: a hook of MkDocs.

A page links to a file outside of `docs/` by its relative path, as on a code host. The site carries a copy of each such
file in `project/`, and the link leads there. MkDocs reports a link to a file that does not exist.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]+)")
FOLDER = "project"


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to."""
    linked = {path for page in files.documentation_pages() for path in _outside(page, page.content_string)}
    for path in sorted(linked):
        files.append(File.generated(config, _published(path), content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page with links that lead to the copies."""
    folder = posixpath.dirname(page.file.src_uri)
    targets = _outside(page.file, markdown)

    def rewrite(match: re.Match[str]) -> str:
        path = _project_path(page.file, match[1])
        return posixpath.relpath(_published(path), folder or ".") if path in targets else match[1]

    return LINK.sub(rewrite, markdown)


def _outside(page: File, markdown: str) -> set[str]:
    """Return the existing files outside of `docs/` that a page links to, relative to the project."""
    paths = {_project_path(page, link) for link in LINK.findall(markdown)}
    return {path for path in paths if not path.startswith(("..", "docs/")) and (ROOT / path).is_file()}


def _project_path(page: File, link: str) -> str:
    return os.path.normpath(posixpath.join("docs", posixpath.dirname(page.src_uri), link))


def _published(path: str) -> str:
    """Return the address of a copy. A Markdown file becomes text: it is no page of the site."""
    return f"{FOLDER}/{path}{'.txt' if path.endswith('.md') else ''}"
