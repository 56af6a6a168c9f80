"""Wordings of a finding: the templates, and a phrase in one of them.

In: a phrase. Out: a sentence. `maps.prompts` may average the vectors of several; the evaluation reports their spread.
"""

from __future__ import annotations

# The phrase itself comes first: it gives the headline scores.
PROMPTS = ("{}", "There is {}", "Findings suggesting {}")


def prompt(template: str, phrase: str) -> str:
    """The phrase in a template; inside a sentence it loses its capital, unless it is an abbreviation."""
    inside = not template.startswith("{}") and not phrase[:2].isupper()
    return template.format(phrase[:1].lower() + phrase[1:] if inside else phrase)
