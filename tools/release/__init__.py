"""A release: the whole set of files, each proved, with manifest, model cards and report."""
