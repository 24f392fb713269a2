"""What was measured, for people and for CI: terminal, JUnit, Markdown."""
