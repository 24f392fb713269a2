"""Tests of the formats: the content of files, their runtimes, and refused files."""
