"""The composition root: hands stream, model, journal and pictures to the engine's loop.

In: `CONFIG [key=value ...]`, on every rank, started by DeepSpeed's launcher, torchrun or Slurm. Out: a run folder. Only
this module joins engine, track and localize.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sentalign import config as configuration
from sentalign import dist
from sentalign.config import Config
from sentalign.engine import build, loop, loss_scalars, nonfinite
from sentalign.health import failures, heartbeat
from sentalign.launch import ranks, stop_request
from sentalign.model import dual, image, text
from sentalign.model.pretrained import WeightsError, vocabulary
from sentalign.stream.dataset import Stream
from sentalign.stream.read.fetch import Shards, with_text
from sentalign.text import Tokenizer
from sentalign.track.run_logger import RunLogger
from sharding.contract import UserError
from sharding.store import atomic

CONFIG_NAME = "config.yaml"


@dataclass(frozen=True)
class Streams:
    """The training stream, and the validation stream where the split has samples."""

    train: Stream
    validation: Stream | None


def main(words: Sequence[str] | None = None) -> int:
    """Trains; returns the exit code: 0 done, 1 failed, 2 the user's mistake (told once, by rank 0)."""
    parser = argparse.ArgumentParser("sentalign.train")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args(words)
    stop_request.hear()
    try:
        os.environ |= ranks.ranks_of_environment(os.environ)
        train(configuration.load(args.config, args.overrides))
    except failures.LostContact as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (UserError, WeightsError, nonfinite.NotFiniteError) as error:
        # By the launcher's word: the process group is not there yet, or has been left already.
        if int(os.environ.get("RANK", "0")) > 0:
            time.sleep(30)  # most mistakes meet every rank: rank 0 says them, and the launcher then ends the others
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, nonfinite.NotFiniteError) else 2
    return 0


def train(config: Config) -> None:
    """One whole run, or the rest of it. Raises UserError, WeightsError, NotFiniteError, LostContact."""
    run = Path(config.run)
    heartbeat.begin(run, os.environ, config.train.timeout_minutes * 60, config.data.timeout)
    with failures.told(run, int(os.environ["RANK"])):
        joined(run, config)


def joined(run: Path, config: Config) -> None:
    """`train`, between the meeting of the ranks and their parting."""
    try:
        build.init_ranks(config.train.timeout_minutes)
        settle(run, config)
        tokenizer = tokenizer_of(run, config)
        streams = streams_of(config, tokenizer)
        torch.manual_seed(config.seed)
        engine = build.build(model_of(config, len(tokenizer.vocabulary)), config)
        with RunLogger(run, config, streams.train.account()) as logger:
            loop.run(run, engine, streams.train, streams.validation, config, logger)
    finally:
        build.leave_ranks()


def settle(run: Path, config: Config) -> None:
    """Makes the run folder with its config.yaml, or checks that it is of the same configuration. Raises UserError."""
    said = None
    if dist.rank() == 0:
        said = _settled(run, config)
    if complaint := dist.broadcast_object(said):
        raise UserError(complaint)


def _settled(run: Path, config: Config) -> str | None:
    stored = run / CONFIG_NAME
    if stored.is_file():
        try:
            differing = configuration.difference(configuration.load(stored), config)
        except UserError as error:  # of another version, or edited
            return f"{error}; set another run="
        if not differing:
            return None
        return f"{run} was started with other settings ({'; '.join(differing[:3])}); restore them, or set another run="
    try:
        run.mkdir(parents=True, exist_ok=True)
        atomic.write_text(stored, configuration.dump(config))
    except OSError as error:
        return f"cannot write to {run} ({error.strerror}); set run= to a folder that can be written"
    return None


def tokenizer_of(run: Path, config: Config) -> Tokenizer:
    """The run's tokenizer: given, of the weights, or trained on the training sentences by rank 0. Raises UserError."""
    folder = run / "tokenizer"
    complaint = None
    if dist.rank() == 0 and not folder.is_dir():
        try:
            with atomic.new_folder(folder) as fresh:  # a run that is killed meanwhile leaves none, or a whole one
                _made_tokenizer(config).save(fresh)
        except (UserError, WeightsError) as error:
            complaint = str(error)
        except OSError as error:
            complaint = f"cannot write to {folder} ({error.strerror}); mend that, and run the same command again"
    if complaint := dist.broadcast_object(complaint):
        raise UserError(complaint)
    return Tokenizer.load(folder)


def _made_tokenizer(config: Config) -> Tokenizer:
    tower = config.model.text
    if tower.vocabulary:
        return Tokenizer.from_vocabulary(Path(tower.vocabulary), tower.cased)
    if tower.weights:
        return Tokenizer(vocabulary(tower.weights), tower.cased)
    sources = (Shards(url, config.data.train_split) for url in config.data.urls)
    said = (sentence for shards in sources for i in range(len(shards)) for sentence in shards.sentences(i))
    return Tokenizer.train(said, tower.vocabulary_size, tower.cased)


def streams_of(config: Config, tokenizer: Tokenizer) -> Streams:
    """Both streams of this rank. Raises UserError where the training split has no batch."""
    place = (config.seed, dist.rank(), dist.ranks(), tokenizer)
    data = config.data
    if config.train.micro_batch:  # texts that are in memory at once are as few as images
        pieces = -(-data.batch // dist.ranks() // config.train.micro_batch)
        data = data.model_copy(update={"length_buckets": max(data.length_buckets, pieces)})
    train = Stream(data, *place, config.data.train_split)
    if train.epoch_batches == 0:
        raise UserError(
            f"split {config.data.train_split!r} of {config.data.shards} has fewer samples with text than "
            f"data.batch={config.data.batch}; lower data.batch or build more shards"
        )
    if with_text(config.data.urls, config.data.validation_split) < dist.ranks():
        return Streams(train, None)
    return Streams(train, Stream(data, *place, config.data.validation_split))


def model_of(config: Config, vocabulary_size: int) -> dual.DualEncoder:
    """Both towers. Raises WeightsError, UserError."""
    text_said, image_said = config.model.text, config.model.image
    text_tower = text.build(text_said.weights, text_said.backbone, vocabulary_size, text_said.last_layers)
    longest = text_tower.bert.config.max_position_embeddings
    if config.data.max_tokens > longest:
        raise UserError(f"data.max_tokens {config.data.max_tokens} is more than the text tower's {longest} positions")
    stages = (image_said.region_stage, image_said.global_stage)
    image_tower = image.build(
        image_said.weights, image_said.backbone, *stages, config.model.width, image_said.coordinates, image_said.norm
    )
    return dual.DualEncoder(image_tower, text_tower, loss_scalars.start(config.loss))


if __name__ == "__main__":
    sys.exit(main())
