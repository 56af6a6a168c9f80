"""FEATURES → SCALAR: the four contrastive terms. `reference` is the specification; the fast path must equal it."""
