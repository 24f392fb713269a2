"""Tests of the formats: what is in their files, what runs them, what is refused."""
