"""A one-process engine of ZeRO stage 0 with a real optimizer that has made one step."""

from __future__ import annotations

import torch
from torch import nn


class Module(nn.Module):
    """One weight, one frozen weight and one buffer, all of value `value`."""

    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), float(value)))
        self.frozen = nn.Parameter(torch.full((2,), float(value)), requires_grad=False)
        self.register_buffer("statistics", torch.full((2,), float(value)))


class Engine:
    """What checkpoints use of DeepSpeed's engine; `steps` of the optimizer have been made, with zero gradients."""

    def __init__(self, value=0.0, steps=1):
        self.module, self.skipped_steps = Module(value), 0
        self.optimizer = torch.optim.AdamW([self.module.weight], lr=0.0)
        for _ in range(steps):
            self.module.weight.grad = torch.full((3,), float(value))
            self.optimizer.step()

    def zero_optimization_stage(self):
        return 0
