"""DeepSpeed's engine for a model and a configuration.

In: `DualEncoder` and `Config`. Out: the initialised process group and the engine. Every DeepSpeed setting of a run
is in `deepspeed_config`; none is left to its default where the default would change results.
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from datetime import timedelta
from typing import Any

import deepspeed
import deepspeed.ops
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.utils import logger as deepspeed_logger

from sentalign import dist
from sentalign.config import Config, Train, rank_views
from sentalign.engine import ema, optimizer
from sentalign.launch import rendezvous
from sentalign.model import recompute
from sentalign.model.dual import DualEncoder
from sharding.contract import UserError


def init_ranks(timeout_minutes: float) -> None:
    """Joins the process group that the environment describes: NCCL on GPUs, gloo on CPU. Raises UserError."""
    deepspeed_logger.setLevel(logging.ERROR)
    # DeepSpeed calls collectives by deprecated names, and torch warns at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # An inference operator that every start on a CPU would compile with g++ for a minute. The name is internal.
    getattr(deepspeed.ops, "__compatible_ops__", {})["deepspeed_shm_comm"] = False
    _set_device(int(os.environ.get("LOCAL_RANK", "0")))
    rendezvous.wait_for_all_ranks(os.environ, timedelta(minutes=timeout_minutes))
    deepspeed.init_distributed(timeout=timedelta(minutes=timeout_minutes), verbose=False)


def _set_device(local_rank: int) -> None:
    """Makes this rank's GPU the current one: NCCL's first collective, of plain objects, uses it."""
    accelerator = get_accelerator()
    if accelerator.device_name() != "cpu" and local_rank >= accelerator.device_count():
        raise UserError(
            f"rank {local_rank} of this host has no GPU, there are {accelerator.device_count()}; start as many ranks, "
            "and let each of them see all GPUs of its host"
        )
    accelerator.set_device(local_rank)


def leave_ranks() -> None:
    """Leaves the process group, so that the process ends without torch's warning."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def deepspeed_config(config: Config, ranks: int) -> dict[str, Any]:
    """DeepSpeed's config. Gradients are averaged over ranks, which the losses rely on."""
    stage = config.train.zero_stage
    settings: dict[str, Any] = {
        "train_batch_size": config.data.batch,
        "train_micro_batch_size_per_gpu": config.data.batch // ranks,
        "gradient_accumulation_steps": 1,
        # Written even when 0: DeepSpeed's own default is 1.0. Stage 0 clips in optimizer.check_gradients.
        "gradient_clipping": config.optimizer.gradient_clipping if stage else 0.0,
        "zero_optimization": {"stage": stage} | _offload(config.train),
        "zero_allow_untested_optimizer": True,
        # torch's optimizers run on the host too; DeepSpeed's would be compiled for a minute or two at the start.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**62,
    }
    if config.train.precision != "float32":
        # Not DeepSpeed's "bf16": it fails on batch norm on CPU, and at stage 0 Adam takes a phantom first step.
        # No module is "safe" for messages of lower precision: gradients of all stages travel in float32.
        settings["torch_autocast"] = {
            "enabled": True,
            "dtype": config.train.precision,
            "lower_precision_safe_modules": [],
        }
    return settings


def _offload(train: Train) -> dict[str, Any]:
    # Pinned memory speeds up copies to a GPU; without a GPU it cannot be allocated.
    target = {"device": "cpu", "pin_memory": get_accelerator().device_name() != "cpu"}
    kinds = {"none": (), "optimizer": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}
    return dict.fromkeys(kinds[train.offload], target)


def build(model: DualEncoder, config: Config) -> deepspeed.DeepSpeedEngine:
    """The engine on this rank's device, with rank 0's weights on all ranks. Raises UserError.

    Beside DeepSpeed's attributes it has `average`, the averaged weights, None where `train.ema_pairs` is 0; and
    `region_grid`, where the regions lie on the input, None where the loss has no second view.
    """
    if config.loss.views:
        rank_views(config.data.batch, config.loss.view_share, dist.ranks())
    region_grid = model.image.region_grid(config.data.image_size) if config.loss.views else None
    recompute.enable(model, config.train.recompute)
    if config.train.compile:
        _check_compile(model.image.backbone.config.to_dict(), config.model.image.norm)
        model.image.compile()
    steps = optimizer.make(model, config.optimizer)
    if config.train.zero_stage == 0:
        optimizer.check_gradients(steps, config.optimizer.gradient_clipping)
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=steps, config=deepspeed_config(config, dist.ranks()), dist_init_required=False
    )
    engine.region_grid = region_grid
    engine.average = ema.Average(engine, config.train.ema_pairs) if config.train.ema_pairs else None
    return engine


def _check_compile(backbone: dict[str, Any], norm: str) -> None:
    """Refuses what compiled code computes wrongly or not at all."""
    # With torch 2.13 the backward pass of a compiled random layer draws other random numbers than its forward pass.
    if random := [name for name, value in backbone.items() if "drop" in name and isinstance(value, float) and value]:
        raise UserError(f"train.compile=true needs an image tower without dropout; set its {', '.join(random)} to 0")
    if norm == "sync":
        raise UserError("train.compile=true does not support model.image.norm=sync; set it to group or frozen")
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UserError("train.compile=true needs a C++ compiler; install g++, or set train.compile=false")
