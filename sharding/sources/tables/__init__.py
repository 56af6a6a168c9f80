"""Tables that describe images → columns of strings, view codes and splits; shared by all sources.

In: CSV, TSV or Parquet files. Out: stripped strings (`table`), DICOM view codes (`views`), one split per patient
(`splits`). Which table and which column a source takes is decided in the source's module.
"""
