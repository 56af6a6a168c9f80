"""The language of a report, by its frequent words.

In: a readable text. Out: a code of ISO 639-1, "other" for another script, English if nothing speaks against it. The
word lists are in `languages.toml`. A general detector (lingua) takes some short English
reports, which are full of Latin, for French or German (docs/sharding.md): a report that is wrongly called foreign loses
its findings.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from importlib.resources import files

_LISTS: dict[str, str] = tomllib.loads((files(__package__) / "languages.toml").read_text(encoding="utf-8"))
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _words in _LISTS.items():
    for _word in set(_words.split()):
        _LANGUAGES_OF.setdefault(_word, []).append(_language)

ENGLISH, OTHER = "en", "other"
LANGUAGES = (*_LISTS, OTHER)
WORD = re.compile(r"[^\W\d_]+")
LATIN = re.compile(r"[A-Za-z\u00aa-\u024f\u1e00-\u1eff]")
LETTER = re.compile(r"[^\W\d_]")
MOST_WORDS = 400  # of a report are looked at
LEAST_WORDS = 2  # different ones, and not letters alone: one may be a name, letters are those of n/a
LEAD = 1.5  # a foreign language has at least this many times the words of English


def of(text: str) -> str:
    """One of `LANGUAGES`."""
    words = WORD.findall(unicodedata.normalize("NFC", text).casefold())[:MOST_WORDS]
    letters = "".join(words)
    if len(LATIN.findall(letters)) < len(letters) / 2:
        return OTHER
    counts: Counter[str] = Counter(language for word in words for language in _LANGUAGES_OF.get(word, ()))
    english = counts.pop(ENGLISH, 0)
    best, count = max(counts.items(), key=lambda item: item[1], default=(ENGLISH, 0))
    if count <= LEAD * english:
        return ENGLISH
    distinct = {word for word in words if best in _LANGUAGES_OF.get(word, ())}
    return best if len(distinct) >= LEAST_WORDS and max(map(len, distinct)) > 1 else ENGLISH
