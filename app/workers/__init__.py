"""The back room: one duty, one file, one run_once()."""
