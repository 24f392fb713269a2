"""Pages for people: one file each, without scripts, that loads nothing from elsewhere."""
