"""A made sweep as it goes on: the contents at moments between its start and its end."""

from __future__ import annotations

import copy
import sys
import time

from sentalign.sweep.live import SweepDisplay, display
from tests.sweep.page import made


def content(count, share):
    """The sweep of `made` when `share` of its time is over; trials run one after another, two at a time."""
    given = copy.deepcopy(made.sweep(count))
    for place, trial in enumerate(given["trials"]):
        done = (share * (count + 1) - place) / 2
        if done <= 0:
            trial |= {
                "status": "waiting",
                "values": {},
                "by_seed": {},
                "curve": [],
                "pairs": 0,
                "seconds": 0,
                "error": "",
            }
        elif done < 1 and trial["status"] != "failed":
            curve = trial["curve"][: int(done * len(trial["curve"]))]
            trial |= {"status": "running", "curve": curve, "pairs": 3000 * len(curve), "seconds": 50 * len(curve) + 1}
            trial |= {"values": curve[-1][1] if curve else {}, "by_seed": {}}
    known = [trial for trial in given["trials"] if made.AP in trial["values"]]
    best = max(known, key=lambda trial: trial["values"][made.AP], default=None)
    return given | {"best": best and best["trial"], "pareto": []}


def play(count, steps, pause):
    display.SHARE, display.REFRESHES = 1, 4  # every content is drawn, on a busy machine too
    with SweepDisplay() as shown:
        for step in range(steps + 1):
            shown.update(content(count, step / steps))
            time.sleep(pause)


if __name__ == "__main__":
    play(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
