"""The files of an input: which there are, which may be images, and which one a name means.

In: a folder or the URL of a store. Out: `inventory` (all files, listed once), `file_kinds` (images and others by name),
`image_finder` (a name in a table → a file). Which table names them is decided in the source's module.
"""
