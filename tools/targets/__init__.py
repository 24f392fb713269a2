"""`rvm-export for TARGET`: one folder with a consumer's file, its card, golden frames, and a small project."""
