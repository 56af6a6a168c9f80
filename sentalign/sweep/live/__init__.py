"""What is seen while a sweep runs: a table on a terminal, one line per event elsewhere.

In: the content of trials.json, as often as it changes. Out: text on stderr.
"""

from sentalign.sweep.live.display import SweepDisplay

__all__ = ["SweepDisplay"]
