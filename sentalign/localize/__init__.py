"""FEATURES → MAPS: score maps on the original pixels, boxes, and overlays that show both."""
