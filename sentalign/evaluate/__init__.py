"""MAPS → METRICS: how well the maps find what radiologists boxed, with intervals and controls."""
