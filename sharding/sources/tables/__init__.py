"""Cells of tables that describe images → view codes and splits; shared by all sources.

In: columns of `sharding.tables`. Out: DICOM view codes (`views`), one split per patient (`splits`). Which table and
which column a source takes is decided in the source's module.
"""
