"""Draw a clip that needs no file: a person who moves over drawn backgrounds, with exact alpha and foreground."""
