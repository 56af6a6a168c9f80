"""The page of a sweep: what was found, and how the objective depends on every setting.

In: the content of trials.json. Out: `index.html`, which loads nothing, and `trials.csv`.
"""

from sentalign.sweep.page.files import write

__all__ = ["write"]
