"""Data sets with boxes, one reader each: annotation files and images → cases (image, phrase, boxes)."""
