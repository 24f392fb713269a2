"""Code that several commands use: models, outputs, sizes, the console, pictures. Each file has one subject."""
