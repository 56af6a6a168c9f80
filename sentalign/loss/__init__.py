"""FEATURES → SCALAR: the four contrastive terms. `reference` is the specification; the rest must equal it."""
