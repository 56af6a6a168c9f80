"""A run folder → the model, its tokenizer and its settings; every mistake of the user's in one line.

In: the folder that training or `sentalign export` wrote. Out: `TrainedRun`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from sentalign import config
from sentalign.config import Config
from sentalign.model import dual
from sentalign.model.dual import DualEncoder
from sentalign.model.pretrained import WeightsError
from sentalign.tokenizer import Tokenizer
from sharding.contract import UserError


@dataclass(frozen=True)
class TrainedRun:
    """A trained model on its device, in evaluation mode."""

    model: DualEncoder
    tokenizer: Tokenizer
    settings: Config
    device: str = "cpu"

    @classmethod
    def load(cls, run: Path, device: str = "cpu") -> Self:
        """Raises UserError where the folder has no trained model or the device does not exist."""
        if not run.is_dir():
            raise UserError(f"no run folder {run}; give the folder that training wrote (the `run` of its config)")
        try:
            torch.empty(0, device=device)
            model, tokenizer = dual.load(run, device), Tokenizer.load(run / "tokenizer")
        except WeightsError as error:
            raise UserError(str(error)) from None
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"cannot load the model on {device}: {str(error).splitlines()[0]}; try --device cpu"
            ) from None
        except (OSError, json.JSONDecodeError):
            raise UserError(
                f"the run folder {run} has no readable tokenizer/; give a run that training finished"
            ) from None
        return cls(model, tokenizer, config.load(run / "config.yaml"), device)


def weights_sha256(run: Path) -> str:
    """The checksum of a run's weights. Raises UserError where there are none."""
    try:
        with (run / dual.WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise UserError(f"no trained model in {run}; give the folder that training wrote") from None
