"""Pages that people open: one file each, without scripts, that loads nothing from anywhere."""
