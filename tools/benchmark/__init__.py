"""`rvm-export benchmark`: export one checkpoint to all formats, prove and time the files, and write one page."""
