"""All formats at once, of one checkpoint: files, their proof, their speed, one table and one page."""
