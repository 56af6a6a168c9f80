"""Parts of the patterns of identities in every language: days, hours, and the words of a name.

In: the word lists. Out: strings of regular expressions.
"""

from __future__ import annotations

import re

from sharding.deid.reports.ordinary_words import ACRONYMS, NOT_A_NAME

# --- numbers -----------------------------------------------------------------------------------------------------
# What a number counts or measures; before it, a fraction or a day is not a date.
COUNTED = (
    r"(?i:views?|images?|films|ribs?|lobes?|nodules?|lesions?|masses|opacit\w+|levels?|fractures?|leads?|tubes?|wires|"
    r"vertebra\w*|segments?|zones?|days?|weeks?|months?|hours?|years?|times|mm|cm|m|ml|cc|mg|kg|lbs?|l|percent|%|"
    r"of|the|to|x|murmurs?|strength|systolic|quadrants?|in\b)"
)
NO_MORE = r"(?!\w|[.:/]\d)"
DAY = r"(?:0?[1-9]|[12]\d|3[01])"
MONTH_NUMBER = r"(?:0?[1-9]|1[0-2])"
YEAR = r"(?:19|20)\d{2}"
HOUR = r"(?:[01]?\d|2[0-3])"

# --- names -------------------------------------------------------------------------------------------------------
SPACE = r"(?:[ \t]+|[ \t]*\n[ \t]*(?!\w+[ \t]*:))"
STOP = "|".join(sorted(map(re.escape, NOT_A_NAME), key=lambda word: (-len(word), word)))
CAPITAL = r"[A-Z\u00C0-\u00DE\u0100-\u017F]"
# The cheap test for a capital comes first: the word list is long. A word in capitals with a colon is the next header,
# as is any word with a colon that begins a line.
NAMED = rf"(?={CAPITAL})(?!(?:(?i:{STOP})|{'|'.join(sorted(ACRONYMS))})(?![\w'’-]))(?![A-Z]{{3,}}[ \t]*:)"
WORD = rf"{NAMED}{CAPITAL}[\w'’-]{{0,30}}\w"
MIXED = rf"{NAMED}{CAPITAL}[a-z\u00DF-\u00FF][\w'’-]{{0,30}}"
INITIAL = rf"{CAPITAL}(?:\.[ -]?|[ ])"
PARTICLE = r"(?:(?i:de|da|del|della|di|du|la|le|van|von|der|den|ter|bin|ibn|el|zu|dos|das|al)[ -]){0,2}"
MORE = rf"(?:{SPACE}(?:{INITIAL}){{0,2}}{PARTICLE}{WORD}){{0,2}}(?:[ ]{CAPITAL}\b\.?)?"
NAME = rf"(?:{INITIAL}){{0,3}}{PARTICLE}{WORD}{MORE}"
# After a title every word with a capital is a name: Dr. Will, Dr. May
TITLED = rf"(?:{INITIAL}){{0,3}}{PARTICLE}(?:St\.?[ ])?(?:{CAPITAL}[a-z\u00DF-\u00FF][\w'’-]{{0,30}}|{WORD}){MORE}"
LISTED = rf"{WORD}(?:[ ]{WORD})?,[ ]?(?:{WORD}(?:[ ]{CAPITAL}\b\.?)?|{CAPITAL}\b)"  # SMITH, JOHN A
LOWER = rf"(?!(?i:{STOP})(?![\w'’-]))[a-z][\w'’-]{{2,30}}"
