"""Metrics → what is read: the page, published figures, comparisons, the record of evaluations."""
