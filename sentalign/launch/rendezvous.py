"""Before the process group: every rank says that it came, and a missing one ends the start in bounded time.

In: the launcher's environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT). Out: nothing, once all ranks have come.
Without this a rank that never starts shows as half an hour of silence.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta

from torch.distributed import DistError, TCPStore

from sharding.contract import UserError

LONGEST = timedelta(minutes=10)  # hosts of one job start within this; torch itself would wait as long as a collective
TELL_EVERY = 30.0  # seconds between two words of rank 0 on who is missing
_stores: list[TCPStore] = []  # rank 0's serves the process group too, on the same port: it must live on


def all_ranks(environ: Mapping[str, str], timeout: timedelta) -> None:
    """Returns when all ranks have come. Raises UserError after the shorter of `timeout` and ten minutes."""
    rank, ranks = int(environ.get("RANK", 0)), int(environ.get("WORLD_SIZE", 1))
    if ranks == 1:
        return
    timeout = min(timeout, LONGEST)
    address, port = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
    deadline = time.monotonic() + timeout.total_seconds()
    store = _store(address, port, rank, environ, timeout)
    # torchrun's agent keeps its store when it starts the ranks again.
    attempt = f"sentalign/{environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    names = [f"{attempt}/came/{each}" for each in range(ranks)]
    try:
        if store.add(names[rank], 1) == 1 and store.add(f"{attempt}/count", 1) == ranks:
            store.set(f"{attempt}/all", "1")
        _wait(store, names, f"{attempt}/all", rank, deadline)
    except DistError:  # rank 0 gave up first and took the store with it
        raise UserError(f"rank {rank} of {ranks} came, rank 0 gave up waiting for the others; see its output") from None


def _store(address: str, port: int, rank: int, environ: Mapping[str, str], timeout: timedelta) -> TCPStore:
    # torchrun's agent already listens at that port; else rank 0 does.
    serves = rank == 0 and environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = TCPStore(address, port, None, serves, timeout, wait_for_workers=False, multi_tenant=True)
    except DistError as error:
        if serves:
            raise UserError(
                f"rank 0 cannot listen at port {port} ({_reason(error)}); give another --master_port"
            ) from None
        raise UserError(
            f"rank {rank} did not reach rank 0 at {address}:{port} within {timeout.total_seconds():.0f} s; see whether "
            "rank 0 started, and whether INTERFACE (launchers/env.sh) names the network between the hosts"
        ) from None
    _stores.append(store)
    return store


def _reason(error: DistError) -> str:
    return (
        "it is in use" if "EADDRINUSE" in str(error) or "in use" in str(error) else "no permission or no such address"
    )


def _wait(store: TCPStore, names: list[str], everyone: str, rank: int, deadline: float) -> None:
    """Returns when the key `everyone` is there. It is asked for again and again: torch logs addresses where a wait in
    the store itself takes too long.
    """
    told = time.monotonic()
    while not store.check([everyone]):
        now = time.monotonic()
        late = now > deadline
        if late or (rank == 0 and now - told > TELL_EVERY):
            missing = [number for number, name in enumerate(names) if not store.check([name])]
            came = f"{len(names) - len(missing)} of {len(names)} ranks came; missing: {_listed(missing)}"
            if late:
                raise UserError(f"{came}; see the output of their hosts, then run the same command again")
            print(f"waiting: {came}", file=sys.stderr, flush=True)
            told = now
        time.sleep(0.2)


def _listed(ranks: list[int], most: int = 8) -> str:
    more = f" and {len(ranks) - most} more" if len(ranks) > most else ""
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks[:most])) + more
