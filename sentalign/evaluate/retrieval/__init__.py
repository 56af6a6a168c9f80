"""Shards and a trained run → how well images find their reports, and reports their images."""
