"""DeepSpeed's engine for a model and a configuration.

In: `Dual` and `Config`. Out: the initialised process group and the engine. Every DeepSpeed setting of a run stands in
`deepspeed_config`, none is left to its default where the default would change results.
"""

from __future__ import annotations

import logging
import os
import warnings
from datetime import timedelta
from typing import Any

import deepspeed
import deepspeed.ops
import torch
from deepspeed.utils import logger as deepspeed_logger
from torch import nn

from sentalign import dist
from sentalign.config import Config
from sentalign.engine import meet


def init_ranks(timeout_minutes: float) -> None:
    """Joins the process group that the environment describes: NCCL on GPUs, gloo on CPU. Raises UserError."""
    deepspeed_logger.setLevel(logging.ERROR)
    # DeepSpeed calls collectives under names that torch has deprecated, which torch says at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # An operator for inference that every CPU start would compile with g++ for a minute. The name is internal.
    getattr(deepspeed.ops, "__compatible_ops__", {})["deepspeed_shm_comm"] = False
    meet.all_ranks(os.environ, timedelta(minutes=timeout_minutes))
    deepspeed.init_distributed(timeout=timedelta(minutes=timeout_minutes), verbose=False)


def leave_ranks() -> None:
    """Leaves the process group, so that the process ends without torch's warning."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def deepspeed_config(config: Config, ranks: int) -> dict[str, Any]:
    """What DeepSpeed is told. Gradients are averaged over ranks, which is what the losses count on."""
    said: dict[str, Any] = {
        "train_batch_size": config.data.batch,
        "train_micro_batch_size_per_gpu": config.data.batch // ranks,
        "gradient_accumulation_steps": 1,
        # Written even when 0: DeepSpeed's own default is 1.0.
        "gradient_clipping": config.optimizer.gradient_clipping,
        "zero_optimization": {"stage": config.train.zero_stage},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**62,
    }
    if config.train.precision == "bfloat16":
        # Not DeepSpeed's "bf16": it fails on batch norm on CPU, and at stage 0 Adam takes a phantom first step.
        said["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return said


def build(model: nn.Module, config: Config) -> deepspeed.DeepSpeedEngine:
    """The engine on this rank's device, with Adam. Weights must be equal on all ranks (they are rank 0's after)."""
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.optimizer.rate,
        betas=config.optimizer.betas,
        weight_decay=config.optimizer.weight_decay,
    )
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=optimizer, config=deepspeed_config(config, dist.ranks()), dist_init_required=False
    )
    return engine
