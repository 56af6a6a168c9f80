"""Region vectors and sentences → score grids, and grids → maps on the original pixels."""
