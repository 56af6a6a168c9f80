"""Which rank hangs: compares the heartbeats of a run's ranks.

In: RUN/heartbeat/ (heartbeat.py), read twice. Out: a `Verdict`. A rank is compared with itself over a short time and
with the others' phases, never one host's clock with another's. Nothing is stopped or repaired here.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sentalign.health.heartbeat import FOLDER, PHASES, Heartbeat
from sharding.contract import UserError

# Phases that take minutes by nature: large files, a first compilation, weights that are downloaded.
SLOW_PHASES, SLOW_FACTOR = ("start", "restore", "save"), 10
RESUME = "stop what is left of the run and run the same command: it resumes from its newest checkpoint"
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
    """`suspects`: the ranks that hang, failed or are dead; `lines`: for a person."""

    state: str  # running | finished | hangs | dead | failed
    suspects: tuple[int, ...]
    lines: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return self.state in ("running", "finished")


def read(run: Path) -> dict[int, Heartbeat]:
    """The newest heartbeat of each rank of the newest launch, in the order of their last writes.

    The order is by the clock of the run folder's store, which is the same for all. Raises UserError without heartbeats.
    """
    written = []
    for path in (run / FOLDER).glob("rank-*.json"):
        try:
            written.append((path.stat().st_mtime, Heartbeat(**json.loads(path.read_text(encoding="utf-8")))))
        except (OSError, ValueError, TypeError):
            continue  # being replaced at this moment, or of another version
    if not written:
        raise UserError(f"no heartbeats in {run / FOLDER}; give the folder of a run that was started")
    heartbeats = [heartbeat for _, heartbeat in sorted(written, key=lambda pair: pair[0])]
    # A run that resumes with fewer ranks leaves the heartbeats of the others behind.
    return {beat.rank: beat for beat in heartbeats if beat.rank < heartbeats[-1].ranks}


def observe(run: Path, stale: float, sleep: Callable[[float], None] = time.sleep) -> Verdict:
    """Reads, waits for a heartbeat of every rank or for five intervals, reads again and judges. Raises UserError."""
    first = last = read(run)
    longest = max(5.0, 5 * max(beat.interval for beat in first.values()))
    for _ in range(round(longest / 0.5)):
        if all(beat.ended or beat != first.get(rank) for rank, beat in last.items()):
            break
        sleep(0.5)
        last = read(run)
    return judge(first, last, stale)


def judge(first: dict[int, Heartbeat], last: dict[int, Heartbeat], stale: float) -> Verdict:
    """Two readings, some heartbeats apart. `stale`: seconds that a phase may last, ten times that for a slow one."""
    ranks = max(beat.ranks for beat in last.values())
    absent = [rank for rank in range(ranks) if rank not in last]
    failed = [r for r, beat in last.items() if beat.ended not in (None, "finished")]
    silent = [r for r, beat in last.items() if not beat.ended and beat == first.get(r)]
    beating = {r: last[r] for r in sorted(last) if not last[r].ended and r not in silent}
    if silent or absent:
        return _silent(last, silent, absent, beating)
    if failed:
        return _failed(last, sorted(failed))
    if not beating:
        pairs = max(beat.pairs for beat in last.values())
        return Verdict("finished", (), (f"all {ranks} ranks exited normally, after {pairs} pairs",))
    if any(beat.idle < _allowed(beat, stale) for beat in beating.values()):
        pairs = min(beat.pairs for beat in beating.values())
        return Verdict("running", (), (f"all {ranks} ranks make progress; the last of them has seen {pairs} pairs",))
    return _hanging(beating)


def _allowed(beat: Heartbeat, stale: float) -> float:
    return stale * (SLOW_FACTOR if beat.phase in SLOW_PHASES else 1)


def _silent(last: dict[int, Heartbeat], silent: list[int], absent: list[int], beating: dict[int, Heartbeat]) -> Verdict:
    lines = [
        f"{_name(last[r])} gives no sign of life: its process is dead or frozen, or its host is gone; "
        f"last seen in phase {last[r].phase} after {last[r].pairs} pairs"
        for r in silent
    ]
    lines += [f"rank {r} never started" for r in absent]
    if len(silent) > 1:
        lines.append(f"rank {silent[0]} was the first to fall silent")
    lines += [f"{_name(beat)}: {beat.ended}, in phase {beat.phase}" for beat in last.values() if beat.ended]
    if beating:
        lines.append(f"ranks with a heartbeat: {_phases(beating.values())}")
    lines.append(f"what to do: check that those hosts and processes exist (memory, power, network); {RESUME}")
    return Verdict("hangs" if beating else "dead", (*silent, *absent), tuple(lines))


def _failed(last: dict[int, Heartbeat], failed: list[int]) -> Verdict:
    # Ranks that lost contact or waited are victims of those that failed.
    first = [r for r in failed if last[r].ended == "failed"] or failed
    lines = [f"{_name(last[r])}: {last[r].ended}, in phase {last[r].phase} after {last[r].pairs} pairs" for r in failed]
    lines.append(f"what to do: read errors/ in the run folder, fix the cause, then {RESUME}")
    return Verdict("failed", tuple(first), tuple(lines))


def _hanging(beating: dict[int, Heartbeat]) -> Verdict:
    """Every rank has a heartbeat and none makes progress: those behind the others, else those outside a collective."""
    least = min(_progress(beat) for beat in beating.values())
    behind = [r for r, beat in beating.items() if _progress(beat) == least]
    if len(behind) == len(beating) > 1:
        behind = [r for r, beat in beating.items() if not beat.in_collective]
    if len(behind) in (0, len(beating)) and len(beating) > 1:
        behind = _elsewhere(beating)
    lines = [
        f"{_name(beating[r])} hangs in phase {beating[r].phase} after {beating[r].pairs} pairs, for "
        f"{beating[r].idle:.0f} s, at {beating[r].line or 'an unknown line'}"
        for r in behind or beating
    ]
    if not behind:
        lines.append(f"what to do: no rank is behind, so look at the network between the hosts; {RESUME}")
        return Verdict("hangs", tuple(beating), tuple(lines))
    if len(behind) < len(beating):
        lines.append(f"ranks that wait for it: {_phases(beat for r, beat in beating.items() if r not in behind)}")
    lines.append(f"what to do: {ADVICE[beating[behind[0]].phase]}; {RESUME}")
    return Verdict("hangs", tuple(behind), tuple(lines))


def _elsewhere(beating: dict[int, Heartbeat]) -> list[int]:
    """The ranks that are at another line than most. On GPUs collectives return at once, and a rank that waits for the
    others' values is in plain code; the rank that it waits for is likely at another line.
    """
    line, count = Counter(beat.line for beat in beating.values()).most_common(1)[0]
    return [r for r, beat in beating.items() if beat.line != line] if 2 * count > len(beating) else []


def _progress(beat: Heartbeat) -> tuple[int, int]:
    return beat.pairs, PHASES.index(beat.phase)


def _phases(beats: Iterable[Heartbeat]) -> str:
    counts = Counter(beat.phase for beat in beats)
    return ", ".join(f"{count} in phase {phase}" for phase, count in counts.items())


def _name(beat: Heartbeat) -> str:
    return f"rank {beat.rank} (node {beat.node}, local rank {beat.local_rank}, process {beat.pid})"
