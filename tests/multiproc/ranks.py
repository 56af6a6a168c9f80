"""Runs a function on several gloo ranks of this machine, each a process of its own."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

# What a rank imports before its first line takes five seconds of a processor; ranks are forked from one process that
# has it already. It imports only: no thread and no group is started in it.
PRELOADED = ["torch", "torch.distributed", "numpy", "transformers", "deepspeed", "sentalign.engine.step"]


def rank_context() -> ForkServerContext:
    """The context whose server process holds the imports of a rank.

    Its server starts with the first process, in the environment of that moment: tests that change the environment for
    their workers use "spawn".
    """
    context = processes.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def on_ranks(ranks: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`function(*arguments)` on every rank; the results in rank order. A rank's failure fails the test."""
    context = rank_context()
    results: Any = context.SimpleQueue()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        context.Process(target=_rank, args=(rank, ranks, port, results, function, arguments)) for rank in range(ranks)
    ]
    for process in started:
        process.start()
    by_rank = dict(results.get() for _ in started)
    for process in started:
        process.join()
    failures = [value for value in by_rank.values() if isinstance(value, _Failed)]
    assert not failures, failures[0].text
    return [by_rank[rank] for rank in range(ranks)]


def rows_of_rank(batch: int) -> slice:
    """This rank's rows of a global batch."""
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    return slice(rank * batch // ranks, (rank + 1) * batch // ranks)


class _Failed:
    def __init__(self, text: str) -> None:
        self.text = text


def _rank(rank: int, ranks: int, port: int, results: Any, function: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["LOCAL_RANK"] = str(rank)
    try:
        if ranks > 1:
            dist.init_process_group("gloo", timeout=timedelta(seconds=120))
        results.put((rank, function(*arguments)))
    except BaseException:  # the test reports any failure
        results.put((rank, _Failed(traceback.format_exc())))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
