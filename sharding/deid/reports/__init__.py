"""Identities in the text of a report: found and masked, at the same length.

In: a text, and what the source and the header know about the people and places of its study. Out: the masked text,
counts by kind. Read `masking` first, then `identifiers` (known names, ids, places) and `identity_patterns` (dates,
titles, addresses and the like); `ordinary_words` are the word lists of both.
"""
