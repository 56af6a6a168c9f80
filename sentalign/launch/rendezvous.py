"""Rendezvous before the process group: waits until all ranks have joined, in bounded time, and names missing ones.

In: the launcher's environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT). Out: nothing, once all ranks have joined.
Without it a rank that never starts shows as half an hour of silence.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta

from torch.distributed import DistError, TCPStore

from sharding.contract import UserError

LONGEST = timedelta(minutes=10)  # hosts of one job start within this; torch itself would wait as long as a collective
REPORT_SECONDS = 30.0  # between two messages of rank 0 about missing ranks
_stores: list[TCPStore] = []  # rank 0's serves the process group too, on the same port: it must be kept


def wait_for_all_ranks(environ: Mapping[str, str], timeout: timedelta) -> None:
    """Returns when all ranks have joined. Raises UserError after the shorter of `timeout` and ten minutes."""
    rank, ranks = int(environ.get("RANK", 0)), int(environ.get("WORLD_SIZE", 1))
    if ranks == 1:
        return
    timeout = min(timeout, LONGEST)
    deadline = time.monotonic() + timeout.total_seconds()
    store = _connect(environ["MASTER_ADDR"], int(environ["MASTER_PORT"]), rank, environ, timeout)
    # torchrun's agent keeps its store when it restarts the ranks.
    attempt = f"sentalign/{environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    keys = [f"{attempt}/joined/{number}" for number in range(ranks)]
    try:
        if store.add(keys[rank], 1) == 1 and store.add(f"{attempt}/count", 1) == ranks:
            store.set(f"{attempt}/all", "1")
        _wait(store, keys, f"{attempt}/all", rank, deadline)
    except DistError:  # rank 0 gave up first, and its store went with it
        raise UserError(
            f"rank {rank} of {ranks} joined, rank 0 gave up waiting for the others; see the output of rank 0"
        ) from None


def _connect(address: str, port: int, rank: int, environ: Mapping[str, str], timeout: timedelta) -> TCPStore:
    # torchrun's agent already listens at that port; otherwise rank 0 does.
    serves = rank == 0 and environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = TCPStore(address, port, None, serves, timeout, wait_for_workers=False, multi_tenant=True)
    except DistError as error:
        if serves:
            in_use = "EADDRINUSE" in str(error) or "in use" in str(error)
            reason = "it is in use" if in_use else "no permission or no such address"
            raise UserError(f"rank 0 cannot listen at port {port} ({reason}); give another --master_port") from None
        raise UserError(
            f"rank {rank} did not reach rank 0 at {address}:{port} within {timeout.total_seconds():.0f} s; check that "
            "rank 0 started, and that INTERFACE (launchers/env.sh) names the network between the hosts"
        ) from None
    _stores.append(store)
    return store


def _wait(store: TCPStore, keys: list[str], all_joined: str, rank: int, deadline: float) -> None:
    """Returns when the key `all_joined` is set. Polls: a wait in the store itself logs addresses when it is long."""
    reported = time.monotonic()
    while not store.check([all_joined]):
        now = time.monotonic()
        if now > deadline:
            raise UserError(f"{_missing(store, keys)}; see the output of their hosts, then run the same command again")
        if rank == 0 and now - reported > REPORT_SECONDS:
            print(f"waiting: {_missing(store, keys)}", file=sys.stderr, flush=True)
            reported = now
        time.sleep(0.2)


def _missing(store: TCPStore, keys: list[str]) -> str:
    missing = [number for number, key in enumerate(keys) if not store.check([key])]
    return f"{len(keys) - len(missing)} of {len(keys)} ranks joined; missing: {_listed(missing)}"


def _listed(ranks: list[int], most: int = 8) -> str:
    more = f" and {len(ranks) - most} more" if len(ranks) > most else ""
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks[:most])) + more
