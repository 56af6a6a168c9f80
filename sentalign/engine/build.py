"""DeepSpeed's engine for a model and a configuration.

In: `DualEncoder` and `Config`. Out: the initialised process group and the engine. Every DeepSpeed setting of a run
stands in `deepspeed_config`, none is left to its default where the default would change results.
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
from sentalign.config import Config, Train
from sentalign.engine import ema, optimizer
from sentalign.engine.update import LossScale
from sentalign.launch import rendezvous
from sentalign.model import recompute
from sentalign.model.dual import DualEncoder
from sharding.contract import UserError


def init_ranks(timeout_minutes: float) -> None:
    """Joins the process group that the environment describes: NCCL on GPUs, gloo on CPU. Raises UserError."""
    deepspeed_logger.setLevel(logging.ERROR)
    # DeepSpeed calls collectives under names that torch has deprecated, which torch says at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # An operator for inference that every CPU start would compile with g++ for a minute. The name is internal.
    getattr(deepspeed.ops, "__compatible_ops__", {})["deepspeed_shm_comm"] = False
    _take_device(int(os.environ.get("LOCAL_RANK", "0")))
    rendezvous.all_ranks(os.environ, timedelta(minutes=timeout_minutes))
    deepspeed.init_distributed(timeout=timedelta(minutes=timeout_minutes), verbose=False)


def _take_device(local_rank: int) -> None:
    """Makes this rank's GPU the current one: NCCL's first collective, of plain objects, goes by that."""
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
    """What DeepSpeed is told. Gradients are averaged over ranks, which is what the losses count on."""
    stage = config.train.zero_stage
    said: dict[str, Any] = {
        "train_batch_size": config.data.batch,
        "train_micro_batch_size_per_gpu": config.data.batch // ranks,
        "gradient_accumulation_steps": 1,
        # Written even when 0: DeepSpeed's own default is 1.0. Stage 0 clips in optimizer.guard.
        "gradient_clipping": config.optimizer.gradient_clipping if stage else 0.0,
        "zero_optimization": {"stage": stage} | _offload(config.train),
        "zero_allow_untested_optimizer": True,
        # torch's optimizers run on the host as well; DeepSpeed's would be compiled for a minute or two at the start.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**62,
    }
    if config.train.precision != "float32":
        # Not DeepSpeed's "bf16": it fails on batch norm on CPU, and at stage 0 Adam takes a phantom first step.
        # No module is "safe" for messages of lower precision: gradients of all stages travel in float32.
        said["torch_autocast"] = {
            "enabled": True,
            "dtype": config.train.precision,
            "lower_precision_safe_modules": [],
        }
    return said


def _offload(train: Train) -> dict[str, Any]:
    # Pinned memory is what copies to a GPU want; without one there is none.
    place = {"device": "cpu", "pin_memory": get_accelerator().device_name() != "cpu"}
    kinds = {"none": (), "optimizer": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}
    return dict.fromkeys(kinds[train.offload], place)


def build(model: DualEncoder, config: Config) -> deepspeed.DeepSpeedEngine:
    """The engine on this rank's device. Weights must be equal on all ranks (they are rank 0's after).

    Beside DeepSpeed's own it has `average` (of the weights) and `loss_scaling`, each None where it is off. Raises
    UserError, WeightsError.
    """
    _refuse(config, get_accelerator().device_name())
    recompute.enable(model, config.train.recompute)
    if config.train.compile:
        _refuse_compiled(model.image.backbone.config.to_dict(), config.model.image.norm)
        model.image.compile()
    made = optimizer.make(model, config.optimizer)
    if config.train.zero_stage == 0:
        optimizer.guard(made, config.optimizer.gradient_clipping)
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=made, config=deepspeed_config(config, dist.ranks()), dist_init_required=False
    )
    engine.average = ema.Average(engine, config.train.ema_pairs) if config.train.ema_pairs else None
    engine.loss_scaling = _own_scale(engine) if config.train.precision == "float16" else None
    return engine


def _refuse(config: Config, device: str) -> None:
    if config.train.precision == "float16" and device == "cpu":
        raise UserError("train.precision=float16 needs a GPU (a CPU computes it more slowly); set it to bfloat16")


def _refuse_compiled(backbone: dict[str, Any], norm: str) -> None:
    """What compiled code does wrong or not at all."""
    # With torch 2.13 a compiled random layer has the gradient of other random numbers than its forward pass drew.
    if random := [name for name, value in backbone.items() if "drop" in name and isinstance(value, float) and value]:
        raise UserError(f"train.compile=true wants an image tower without chance; set its {', '.join(random)} to 0")
    if norm == "sync":
        raise UserError("train.compile=true does not go with model.image.norm=sync; set it to group or frozen")
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UserError("train.compile=true needs a C++ compiler, and there is none; install g++, or leave it out")


def _own_scale(engine: Any) -> LossScale:
    """Puts our loss scale in the place of torch's scalers, see `LossScale`."""
    if engine.zero_optimization():
        assert engine.optimizer.torch_autocast_gradscaler is not None
        engine.optimizer.torch_autocast_gradscaler = None
    else:
        assert engine.torch_autocast_z0_gradscaler is not None
        engine.torch_autocast_z0_gradscaler = optimizer.StageZeroScaler(engine.optimizer)
    scale = LossScale()
    scale.tell(engine)
    return scale
