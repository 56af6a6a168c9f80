"""Pretrained weights are downloaded once per host, and where they cannot be had all ranks fail together."""

from __future__ import annotations

import os
import time

import pytest

from sentalign import dist
from sentalign.model.pretrained import WeightsError
from tests.multiproc.ranks import on_ranks

RANKS, PER_HOST = 4, 2  # two hosts of two ranks
DOWN = "cannot load hub name 'x/y' on host 1"


class Hub:
    """Stands for a hub and each host's cache; every request is a line `host rank` of a file that all ranks share."""

    def __init__(self, folder, down=(), unreadable=()):
        self.host = dist.rank() // PER_HOST
        self.requests, self.cache = folder / "requests", folder / f"host-{self.host}"
        self.down, self.unreadable = down, unreadable

    def load(self):
        """As from_pretrained: the cached file, or a download of some length. Raises WeightsError."""
        if not self.cache.exists():
            with open(self.requests, "a") as file:
                file.write(f"{self.host} {dist.rank()}\n")
            if self.host in self.down:
                raise WeightsError(DOWN)
            time.sleep(0.3)  # long enough for the others to come too
            self.cache.write_text("weights")
        if dist.rank() in self.unreadable:
            raise WeightsError(f"the cache is damaged for rank {dist.rank()}")
        return self.cache.read_text()


def loaded(folder):
    """What this rank got in each case: the weights or the error."""
    from sentalign import train

    os.environ["LOCAL_RANK"] = str(dist.rank() % PER_HOST)
    results = []
    for name, faults in (("good", {}), ("down", {"down": (1,)}), ("unreadable", {"unreadable": (3,)})):
        (folder / name).mkdir(exist_ok=True)
        try:
            results.append(train.one_rank_per_host_first(Hub(folder / name, **faults).load))
        except WeightsError as error:
            results.append(str(error))
    return results


@pytest.mark.slow
def test_one_rank_of_each_host_downloads_and_all_fail_together(tmp_path):
    good, down, unreadable = zip(*on_ranks(RANKS, loaded, tmp_path), strict=True)
    assert good == ("weights",) * RANKS
    assert down == (DOWN,) * RANKS
    assert unreadable == ("the cache is damaged for rank 3",) * RANKS
    for name in ("good", "down", "unreadable"):
        lines = (tmp_path / name / "requests").read_text().splitlines()
        assert sorted(lines) == ["0 0", "1 2"], "the first rank of each host asks, and no other"
