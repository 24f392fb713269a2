"""Renderings of results, for people and for CI: terminal, JUnit, Markdown."""
