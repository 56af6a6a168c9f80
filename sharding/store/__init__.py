"""Files under one address, in a local folder or an object store: whole files, byte ranges, names.

In: a path or URL. Out: a `Store` (`locations.open_store`), or the bytes of one file (`locations.read`). Read
`locations` first, then `base` (the interface) and its two implementations, `folder` and `bucket`; `errors` are the
failures that callers tell apart. `atomic` writes local files outside a store. What the files mean is not known here.
"""
