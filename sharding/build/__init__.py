"""Source images → shards, manifest, quarantine and audit (`sentalign shard build`).

In: the images of a source (`sources`), settings, the private folder. Out: the data set at a URL, and an `Account` of
what became of every image. No file format is decoded here (`pixels`), no text is split (`text`) and no identity is
found (`deid`). Read `cli` (the command), `run` (the build), `sentence_tuple` (one image → one sample), `samples`,
`pool` and `cluster` (the workers), `writer` (one shard), `journal` (finished shards), then `finish`, `quarantine` and
`account` (the files and figures of the whole data set).
"""
