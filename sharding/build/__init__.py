"""Source images → shards."""
