"""A finished data set → statistics, lines for a terminal and one HTML page (`sentalign shard inspect`).

In: the URL of shards and manifest. Out: a dictionary, lines, HTML. Nothing is written or checked here: that is the
work of `build` and `verify`. Read `inspection` (the entry points), then `statistics` (the numbers) and `page` (the
HTML, with its templates in `templates/`).
"""
