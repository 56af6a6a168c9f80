"""Shards → batches: which samples come when (plan), how they are read (fetch) and what a batch is (batch, augment)."""
