"""A table of labels and a trained run → how well sentences tell images with a finding from images without it."""
