"""What several commands use: models, outputs, sizes, the console, pictures. One subject a file."""
