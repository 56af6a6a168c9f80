"""Report text → sections, sentences, tags.

In: a report as bytes or text. Out: sentences with offsets into the report, each with its section and its tags. Read
`sections` (with the header words of `headers`), `sentences`, then `tags`; `encoding` turns the bytes of small files
into text. Identities are masked before, in `deid`.
"""
