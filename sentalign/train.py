"""The composition root: gives stream, model, journal and pictures to the engine's loop.

In: `CONFIG [key=value ...]`, on every rank, started by DeepSpeed's launcher, torchrun or Slurm. Out: a run folder. Only
this module joins engine, track, localize and evaluate.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path, PurePath
from typing import Any, TypeVar

import torch

from sentalign import config as configuration
from sentalign import dist
from sentalign.checkpoint import folders
from sentalign.config import Config
from sentalign.engine import build, loop, loss_scalars, nonfinite
from sentalign.evaluate import validation as boxed_validation
from sentalign.evaluate import validation_boxes
from sentalign.evaluate.datasets.case import Case
from sentalign.health import failures, heartbeat
from sentalign.launch import rank_environment, stop_request
from sentalign.localize.predict import MAPS, Predictor
from sentalign.model import dual, export, image, initial_weights, text
from sentalign.model.pretrained import WeightsError, vocabulary
from sentalign.stream.dataset import Stream
from sentalign.stream.read.manifest_index import count_with_text, read_index
from sentalign.stream.read.open_data import open_mixture
from sentalign.tokenizer import Tokenizer
from sentalign.track import host_metrics, samples
from sentalign.track.background import BackgroundTasks
from sentalign.track.run_logger import RunLogger
from sharding.contract import UserError
from sharding.store import atomic

CONFIG_NAME = "config.yaml"
EXPECTED = (UserError, WeightsError, nonfinite.NotFiniteError)  # their messages are for the user
T = TypeVar("T")


def main(words: Sequence[str] | None = None) -> int:
    """Trains; returns the exit code: 0 done, 1 failed, 2 the user's mistake (printed once, by rank 0)."""
    parser = argparse.ArgumentParser("sentalign.train")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args(words)
    stop_request.unblock_signals()
    try:
        os.environ |= rank_environment.read(os.environ)
        train(configuration.load(args.config, args.overrides))
    except failures.LostContact as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except EXPECTED as error:
        # RANK, since the process group may not exist yet, or no longer.
        if int(os.environ.get("RANK", "0")) > 0:
            time.sleep(30)  # most mistakes happen on every rank: rank 0 prints them, and the launcher ends the others
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, nonfinite.NotFiniteError) else 2
    return 0


def train(config: Config) -> None:
    """One whole run, or the rest of it. Raises UserError, WeightsError, NotFiniteError, LostContact."""
    run = Path(config.run)
    heartbeat.start(run, os.environ, config.train.timeout_minutes * 60, config.data.timeout)
    with failures.recorded(run, int(os.environ["RANK"]), EXPECTED):
        train_in_group(run, config)


def train_in_group(run: Path, config: Config) -> None:
    """`train`, from the start of the process group to its end."""
    try:
        build.init_ranks(config.train.timeout_minutes)
        settle(run, config)
        cases = boxed_cases(config)
        tokenizer = tokenizer_of(run, config)
        stream, validation = streams_of(config, tokenizer)
        torch.manual_seed(config.seed)
        model = one_rank_per_host_first(lambda: model_of(config, len(tokenizer.vocabulary)))
        background = background_of(run, config, model, tokenizer, cases) if dist.rank() == 0 else None
        engine = build.build(model, config)
        rank_0 = RunLogger(run, config, stream.account(), background, data_sets_of(config))
        with (
            rank_0 if dist.rank() == 0 else nullcontext(loop.SILENT) as callbacks,
            host_metrics.sampling(run, os.environ),
        ):
            loop.run(run, engine, stream, validation, config, callbacks)
    finally:
        build.leave_ranks()


def settle(run: Path, config: Config) -> None:
    """Makes the run folder with its config.yaml. Raises UserError if a checkpoint is there, of other settings.

    Without a checkpoint the new config replaces the stored one: a mistake in the first start can be corrected.
    """
    if error := dist.broadcast_object(_settle(run, config) if dist.rank() == 0 else None):
        raise UserError(error)


def _settle(run: Path, config: Config) -> str | None:
    stored = run / CONFIG_NAME
    try:
        changed = configuration.difference(configuration.load(stored), config) if stored.is_file() else []
    except UserError as error:  # of another version, or edited
        changed = [f"{CONFIG_NAME}: {error}"]
    if changed and folders.complete(run):
        return f"{run} has a checkpoint of other settings ({'; '.join(changed[:3])}); restore them, or set another run="
    try:
        run.mkdir(parents=True, exist_ok=True)
        if changed and (run / "tokenizer").is_dir():
            shutil.rmtree(run / "tokenizer")  # it may be of another vocabulary
        atomic.write_text(stored, configuration.dump(config))
    except OSError as error:
        return f"cannot write to {run} ({error.strerror}); set run= to a folder that can be written"
    return None


def tokenizer_of(run: Path, config: Config) -> Tokenizer:
    """The run's tokenizer: of a vocabulary file, of the weights, or trained by rank 0. Raises UserError."""
    folder = run / "tokenizer"
    error_text = None
    if dist.rank() == 0 and not folder.is_dir():
        try:
            with atomic.new_folder(folder) as fresh:  # a run that is killed here leaves none, or a whole one
                _new_tokenizer(config).save(fresh)
        except (UserError, WeightsError) as error:
            error_text = str(error)
        except OSError as error:
            error_text = f"cannot write to {folder} ({error.strerror}); correct that, and run the same command again"
    if error_text := dist.broadcast_object(error_text):
        raise UserError(error_text)
    return Tokenizer.load(folder)


def _new_tokenizer(config: Config) -> Tokenizer:
    tower = config.model.text
    if config.model.start:
        export.check(Path(config.model.start))
        return Tokenizer.load(Path(config.model.start) / "tokenizer")
    if tower.vocabulary:
        return Tokenizer.from_vocabulary(Path(tower.vocabulary), tower.cased)
    if tower.weights:
        return Tokenizer(vocabulary(tower.weights), tower.cased)
    data_sets = open_mixture(config.data, config.data.train_split, config.seed).data_sets
    sentences = (sentence for shards in data_sets for sentence in shards.sentences())
    return Tokenizer.train(sentences, tower.vocabulary_size, tower.cased)


def streams_of(config: Config, tokenizer: Tokenizer) -> tuple[Stream, Stream | None]:
    """This rank's training and validation stream, None if that split has too few samples. Raises UserError."""
    arguments = (config.seed, dist.rank(), dist.ranks(), tokenizer)
    data = config.data
    if config.train.micro_batch:  # at most as many texts as images are in memory at once
        pieces = -(-data.batch // dist.ranks() // config.train.micro_batch)
        data = data.model_copy(update={"length_buckets": max(data.length_buckets, pieces)})
    train = Stream(data, *arguments, config.data.train_split, swapped=config.loss.weight_swapped > 0)
    if train.epoch_batches == 0:
        raise UserError(
            f"split {config.data.train_split!r} of {config.data.shards} has fewer samples with text than "
            f"data.batch={config.data.batch}; lower data.batch or build more shards"
        )
    if count_with_text(config.data.urls, config.data.validation_split) < dist.ranks():
        return train, None
    return train, Stream(data, *arguments, config.data.validation_split)


def data_sets_of(config: Config) -> list[dict[str, Any]]:
    """What identifies each data set, for the journal."""
    found = []
    for url in config.data.urls:
        index = read_index(url)
        about = {"fingerprint": index.fingerprint, "samples": sum(index.split_sizes.values())}
        found.append({"name": PurePath(url.rstrip("/")).name, "source": url, "splits": index.split_sizes} | about)
    return found


def model_of(config: Config, vocabulary_size: int) -> dual.DualEncoder:
    """Both towers. Raises WeightsError, UserError."""
    text_config, image_config = config.model.text, config.model.image
    text_tower = text.build(text_config.weights, text_config.backbone, vocabulary_size, text_config.last_layers)
    longest = text_tower.bert.config.max_position_embeddings
    if config.data.max_tokens > longest:
        raise UserError(f"data.max_tokens {config.data.max_tokens} is more than the text tower's {longest} positions")
    stages = (image_config.region_stage, image_config.global_stage)
    image_tower = image.build(
        image_config.weights,
        image_config.backbone,
        *stages,
        config.model.width,
        image_config.coordinates,
        image_config.norm,
        image_config.fused_stages,
    )
    model = dual.DualEncoder(image_tower, text_tower, loss_scalars.initial_values(config.loss))
    # A run that has a checkpoint needs that folder no longer.
    if config.model.start and not folders.complete(Path(config.run)):
        initial_weights.take(model, Path(config.model.start))
    return model


def one_rank_per_host_first(load: Callable[[], T]) -> T:
    """`load()` by LOCAL_RANK 0 of each host, then by the other ranks, which find downloads in the host's cache.

    Where it fails on one rank, all ranks raise that rank's WeightsError.
    """
    first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    loaded: list[T] = []
    for turn in (True, False):
        error_text = None
        try:
            if first is turn:
                loaded.append(load())
        except (UserError, WeightsError) as error:
            error_text = str(error)
        failed = [rank for rank, (bad,) in enumerate(dist.of_all_ranks([error_text is not None])) if bad]
        if failed:
            raise WeightsError(dist.broadcast_object(error_text, failed[0]))
    return loaded[0]


def boxed_cases(config: Config) -> list[Case]:
    """The cases of `validation.boxes`, on rank 0; none without it. Raises UserError on all ranks."""
    cases: list[Case] = []
    error_text = None
    if dist.rank() == 0:
        try:
            cases = validation_boxes.read(config)
        except UserError as error:
            error_text = str(error)
    if error_text := dist.broadcast_object(error_text):
        raise UserError(error_text)
    return cases


def background_of(
    run: Path, config: Config, model: dual.DualEncoder, tokenizer: Tokenizer, cases: Sequence[Case] = ()
) -> BackgroundTasks:
    """Sample pictures, attribution offsets and, of `cases`, localization, by a copy of the model on the CPU.

    To be called before DeepSpeed shards the model.
    """
    copied = copy.deepcopy(model).eval()
    maps = config.maps.model_copy(update=MAPS[config.validation.map])
    plain = config.model_copy(update={"maps": maps})

    def predictor_of(weights: dict[str, torch.Tensor], settings: Config = config) -> Predictor:
        copied.load_state_dict(weights, assign=True)
        return Predictor(copied, tokenizer, settings)

    def localization(weights: dict[str, torch.Tensor], _pairs: int) -> dict[str, float]:
        return boxed_validation.localization(predictor_of(weights, plain), cases)

    return BackgroundTasks(samples.tasks(run, config, predictor_of) | {"localization": localization})


if __name__ == "__main__":
    sys.exit(main())
