"""RAW → SHARDS: packs X-rays and report sentences into tar shards and a Parquet manifest, free of identities."""
