"""Names in Chinese, Japanese and Korean signs (PS3.5 annexes H to J), and the spans of a text that contain them.

In: the component groups of a person's name as a header writes them. Out: spans. Such names are written without spaces
and before a particle or an honorific (山田太郎さん),
so they are found inside longer words. Masked everywhere: family and
given name together, and a part of two signs or more. A part of one sign only before an honorific.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

SIGN = "[\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
SIGNS = re.compile(SIGN)
BETWEEN = "[ \u3000・·,、]?"
HONORIFIC = "(?:さん|さま|様|殿|氏|君|ちゃん|先生|女士|小姐|同志|씨|님|군|양|선생)"


def has_signs(group: str) -> bool:
    """Whether a component group of a name is written in such signs."""
    return bool(SIGNS.search(unicodedata.normalize("NFKC", group)))


def parts(group: str) -> tuple[str, ...]:
    """The parts of a name in such signs; empty for another."""
    if not has_signs(group):
        return ()
    written = unicodedata.normalize("NFKC", group)
    return tuple(part for part in re.split(r"[\s^,・·]+", written) if SIGNS.search(part))[:3]


def spans(text: str, names: Iterable[tuple[str, ...]]) -> list[tuple[int, int]]:
    """Where the names stand; the longest first, so that they may overlap."""
    if not SIGNS.search(text):
        return []
    found = []
    for name in sorted(names):
        for pattern in _patterns(name):
            found += [match.span() for match in re.finditer(pattern, text)]
    return sorted(found)


def _patterns(name: tuple[str, ...]) -> list[str]:
    escaped = [re.escape(part) for part in name]
    whole = [BETWEEN.join(escaped), BETWEEN.join(reversed(escaped))] if len(name) > 1 else []
    single = [
        pattern if len(part) > 1 else rf"{pattern}(?=\s?{HONORIFIC})"
        for part, pattern in zip(name, escaped, strict=True)
    ]
    return [*whole, *single]
