"""Copies of what DeepSpeed saves: equal, and nothing shared with what goes on changing."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import torch

from sentalign.checkpoint.host_copy import copied

Pair = namedtuple("Pair", "one other")


class Scaler:
    def __init__(self):
        self.scale, self.tensor = 2.0, torch.ones(2)


def test_every_container_keeps_its_kind_and_shares_nothing():
    tensor = torch.arange(4.0, requires_grad=True)
    value = {
        "ordered": OrderedDict(b=tensor * 2, a=[torch.ones(2), (torch.zeros(1), 3)]),
        "pair": Pair(torch.ones(1), None),
        "size": torch.Size([2, 3]),
        "scaler": Scaler(),
        "twice": [tensor, tensor],
        "dtype": torch.bfloat16,
    }
    made = copied(value)
    before = [float(value["ordered"]["a"][0][0]), value["scaler"].scale, float(value["scaler"].tensor[0])]
    with torch.no_grad():
        for tensor_ in (
            tensor,
            value["ordered"]["b"],
            value["ordered"]["a"][0],
            value["pair"].one,
            value["scaler"].tensor,
        ):
            tensor_.fill_(-1)
    value["scaler"].scale = 0.0
    value["ordered"]["a"].append(1)
    assert made["ordered"]["b"].tolist() == [0, 2, 4, 6]
    assert not made["ordered"]["b"].requires_grad
    assert list(made["ordered"]) == ["b", "a"]
    assert isinstance(made["ordered"], OrderedDict)
    assert len(made["ordered"]["a"]) == 2
    assert made["pair"].one.tolist() == [1]
    assert made["size"] == torch.Size([2, 3])
    assert [float(made["ordered"]["a"][0][0]), made["scaler"].scale, float(made["scaler"].tensor[0])] == before
    assert made["twice"][0] is made["twice"][1]
    assert made["twice"][0].tolist() == [0, 1, 2, 3]
    assert made["dtype"] is torch.bfloat16
