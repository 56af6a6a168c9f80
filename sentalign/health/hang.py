"""Which rank hangs: the heartbeats of a run side by side.

In: RUN/heartbeat/ (heartbeat.py), read twice. Out: a `Verdict`. A rank is compared with itself over a short while and
with the others' phases, never by the clock of one host against another's. Nothing is stopped or mended here.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sentalign.health.heartbeat import FOLDER, PHASES, Heartbeat
from sharding.contract import UserError

# Phases that take minutes by nature: big files, a first compilation, weights that are fetched.
SLOW_PHASES, SLOW_FACTOR = ("start", "restore", "save"), 10
GO_ON = "stop what is left of the run and run the same command: it goes on from its newest checkpoint"
ADVICE = {
    "start": "look at that rank's output and at the hosts' network (launchers/env.sh: INTERFACE)",
    "restore": "look at the store of the run folder",
    "validate": "look at the store of the shards, and at what else runs on that host",
    "save": "look at the space left and at the store of the run folder",
    "data": "look at the store of the shards, and at that host's loader processes and memory",
    "step": "look at that host's devices and memory",
    "end": "nothing is lost; that process can be ended",
}


@dataclass(frozen=True)
class Verdict:
    """What the heartbeats say. `healthy`: nobody stands still; `culprits`: the ranks that do; `lines`: for a person."""

    state: str  # running | finished | stands still | dead | failed
    culprits: tuple[int, ...]
    lines: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return self.state in ("running", "finished")


def read(run: Path) -> dict[int, Heartbeat]:
    """The newest heartbeat of each rank of the newest launch, in the order in which they were written last.

    The order is by the clock of the run folder's store, which is one for all. Raises UserError where there is none.
    """
    found = {}
    for path in (run / FOLDER).glob("rank-*.json"):
        try:
            found[path] = (Heartbeat(**json.loads(path.read_text(encoding="utf-8"))), path.stat().st_mtime)
        except (OSError, ValueError, TypeError):
            continue  # just being replaced, or of another version
    if not found:
        raise UserError(f"no heartbeats in {run / FOLDER}; give the folder of a run that was started")
    # A run that goes on with fewer ranks leaves the heartbeats of the others behind.
    in_order = [beat for beat, _ in sorted(found.values(), key=lambda each: each[1])]
    return {beat.rank: beat for beat in in_order if beat.rank < in_order[-1].ranks}


def observe(run: Path, stale: float, sleep: Callable[[float], None] = time.sleep) -> Verdict:
    """Reads, waits until every heart has beaten or five beats are over, reads again and judges. Raises UserError."""
    first = last = read(run)
    patience = max(5.0, 5 * max(beat.every for beat in first.values()))
    for _ in range(round(patience / 0.5)):
        if all(beat.ended or beat != first.get(rank) for rank, beat in last.items()):
            break
        sleep(0.5)
        last = read(run)
    return judge(first, last, stale)


def judge(first: dict[int, Heartbeat], last: dict[int, Heartbeat], stale: float) -> Verdict:
    """Two readings, some beats apart. `stale`: seconds that a phase may last, a slow one ten times that."""
    ranks = max(beat.ranks for beat in last.values())
    absent = [rank for rank in range(ranks) if rank not in last]
    failed = [r for r, beat in last.items() if beat.ended not in (None, "finished")]
    silent = [r for r, beat in last.items() if not beat.ended and beat == first.get(r)]
    beating = [r for r, beat in last.items() if not beat.ended and r not in silent]
    if silent or absent:
        return _silent(last, silent, absent, beating)
    if failed:
        return _failed(last, sorted(failed))
    if not beating:
        pairs = max(beat.pairs for beat in last.values())
        return Verdict("finished", (), (f"all {ranks} ranks left in good order, after {pairs} pairs",))
    if min(last[r].seconds - _allowed(last[r], stale) for r in beating) < 0:
        pairs = min(last[r].pairs for r in beating)
        return Verdict("running", (), (f"all {ranks} ranks move; the last of them has seen {pairs} pairs",))
    return _standing({r: last[r] for r in sorted(beating)})


def _allowed(beat: Heartbeat, stale: float) -> float:
    return stale * (SLOW_FACTOR if beat.phase in SLOW_PHASES else 1)


def _silent(last: dict[int, Heartbeat], silent: list[int], absent: list[int], beating: list[int]) -> Verdict:
    lines = [
        f"{_name(last[r])} gives no sign of life: its process is dead or frozen, or its host is gone; "
        f"last seen in phase {last[r].phase} after {last[r].pairs} pairs"
        for r in silent
    ]
    lines += [f"rank {r} was never there" for r in absent]
    if len(silent) > 1:
        lines.append(f"rank {silent[0]} was the first to fall silent")
    others = [r for r in last if r not in silent]
    lines += [f"{_name(last[r])}: {last[r].ended}, in phase {last[r].phase}" for r in others if last[r].ended]
    if beating:
        phases = Counter(last[r].phase for r in beating)
        lines.append("the others beat: " + ", ".join(f"{n} in phase {phase}" for phase, n in phases.items()))
    lines.append(f"what to do: see whether those hosts and processes are there (memory, power, network); {GO_ON}")
    return Verdict("stands still" if beating else "dead", (*silent, *absent), tuple(lines))


def _failed(last: dict[int, Heartbeat], failed: list[int]) -> Verdict:
    # Who lost contact or waited is the victim of who failed.
    first = [r for r in failed if last[r].ended == "failed"] or failed
    lines = [f"{_name(last[r])}: {last[r].ended}, in phase {last[r].phase} after {last[r].pairs} pairs" for r in failed]
    lines.append(f"what to do: read errors/ in the run folder, mend the cause, then {GO_ON}")
    return Verdict("failed", tuple(first), tuple(lines))


def _standing(beating: dict[int, Heartbeat]) -> Verdict:
    """All hearts beat and nobody moves: who is behind the others, else who is not waiting in a collective."""
    least = min(_stands(beat) for beat in beating.values())
    behind = [r for r, beat in beating.items() if _stands(beat) == least]
    if len(behind) == len(beating) > 1:
        behind = [r for r, beat in beating.items() if not beat.waits]
    if len(behind) in (0, len(beating)) and len(beating) > 1:
        behind = _elsewhere(beating)
    if not behind:
        beat = next(iter(beating.values()))
        lines = [
            f"all {len(beating)} ranks stand still in phase {beat.phase} after {beat.pairs} pairs, "
            f"for {beat.seconds:.0f} s",
            *(f"{_name(each)} stands at {each.place or 'an unknown place'}" for each in beating.values()),
            f"what to do: no rank is behind, so look at the network between the hosts; {GO_ON}",
        ]
        return Verdict("stands still", tuple(beating), tuple(lines))
    lines = [
        f"{_name(beating[r])} stands still in phase {beating[r].phase} after {beating[r].pairs} pairs, for "
        f"{beating[r].seconds:.0f} s, at {beating[r].place or 'an unknown place'}"
        for r in behind
    ]
    waiting = Counter(beat.phase for r, beat in beating.items() if r not in behind)
    lines += [f"{count} waiting for it in phase {phase}" for phase, count in waiting.items()]
    lines.append(f"what to do: {ADVICE[beating[behind[0]].phase]}; {GO_ON}")
    return Verdict("stands still", tuple(behind), tuple(lines))


def _elsewhere(beating: dict[int, Heartbeat]) -> list[int]:
    """The ranks that are not where most are. On GPUs collectives return at once, and who waits for the others' numbers
    stands in plain code; who keeps them waiting is likely at another line.
    """
    place, count = Counter(beat.place for beat in beating.values()).most_common(1)[0]
    return [r for r, beat in beating.items() if beat.place != place] if 2 * count > len(beating) else []


def _stands(beat: Heartbeat) -> tuple[int, int]:
    return beat.pairs, PHASES.index(beat.phase)


def _name(beat: Heartbeat) -> str:
    return f"rank {beat.rank} (node {beat.node}, local rank {beat.local_rank}, process {beat.pid})"
