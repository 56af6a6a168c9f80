"""BATCH → FEATURES: the image tower, the text tower and the two together."""
