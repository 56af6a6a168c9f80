"""Shows where in a chest X-ray a sentence is true, learned from image-report pairs alone."""
