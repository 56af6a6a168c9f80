"""The pixel data of a DICOM file → its stored values.

In: a parsed dataset. Out: an array with what the header and the compressed frame say of it. Read `layout` (the header's
description, and what holds where it contradicts the data), `codestream` (headers of compressed frames) and `codecs`.
"""
