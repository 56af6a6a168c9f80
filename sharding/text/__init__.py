"""Report text → sections, sentences, tags."""
