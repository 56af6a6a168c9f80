"""The stream: shards → batches, in an order that depends on the data, the seed and the step alone."""
