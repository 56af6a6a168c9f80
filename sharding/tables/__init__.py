"""Tables as they lie on disk → columns of strings; for all of sharding and for the tables of an evaluation.

In: CSV, TSV or Parquet files (`table`). Out: stripped strings, and what a message may show of a header
(`column_names`). What the columns mean is decided by who reads them.
"""
