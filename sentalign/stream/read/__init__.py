"""The bytes of samples: manifests, byte ranges of shards, the local cache of shards, prefetching."""
