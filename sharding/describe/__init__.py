"""A data set → figures and a page."""
