"""What a sweep is told, read and checked before anything starts: space, objective, rungs, and the data it needs.

In: a sweep file and words. Out: a checked sweep. Nothing runs here, and Ray is not imported.
"""
