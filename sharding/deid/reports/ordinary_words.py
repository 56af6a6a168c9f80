"""Words of reports, file names and places that are not names by themselves, read from `ordinary_words.toml`.

In: the word lists of the file. Out: sets of words for `identity_patterns` and `identifiers`.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files

_LISTS: dict[str, str] = tomllib.loads((files(__package__) / "ordinary_words.toml").read_text(encoding="utf-8"))
_SETS = {name: frozenset(words.split()) for name, words in _LISTS.items()}

NOT_A_NAME, ACRONYMS = _SETS["not_a_name"], _SETS["acronyms"]
ORDINARY = NOT_A_NAME | _SETS["ordinary"]
FILE_WORDS, PLACE_WORDS = _SETS["file_words"], _SETS["place_words"]
TITLES, PARTICLES = _SETS["titles"], _SETS["particles"]
AFFIXES = TITLES | _SETS["affixes"]
