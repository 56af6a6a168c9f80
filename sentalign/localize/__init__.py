"""FEATURES → PLACE: score maps on the original pixels, boxes and pictures of them."""
