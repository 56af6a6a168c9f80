"""Image files and sentences → overlays, boxes and tables in a folder."""
