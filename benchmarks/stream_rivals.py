"""webdataset's and mosaicml-streaming's own pipelines over the same pictures, with the same decoder and collation.

In: shards that the sharding tool has built. Out: endless batches of either. Both decode with `sharding.pixels`, square
with `letterbox` and stack into one tensor, as the stream does; neither checks a checksum or tokenises. mosaicml-
streaming imports torchvision for data sets that are not used here: a stand-in module stands for it.
"""

from __future__ import annotations

import importlib.machinery
import json
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from torch import Tensor
from torch.utils.data import DataLoader

from sharding import pixels
from sharding.pixels import letterbox

SHUFFLE_BUFFER = 1000  # what webdataset's examples take
STAND_INS: dict[str, dict[str, Any]] = {
    "torchvision": {},
    "torchvision.datasets": {"VisionDataset": object},
    "torchvision.transforms": {},
    "torchvision.transforms.functional": {"to_tensor": None},
}
Sample = tuple[str, Any, list[str]]
Made = tuple[list[str], Tensor, list[list[str]]]


def decoded(key: str, image: bytes, text: bytes, side: int) -> Sample:
    """Key, square picture and sentences of one sample."""
    image_HH, _ = letterbox(pixels.read(image).grey_HW, side)
    return key, image_HH, [sentence["text"] for sentence in json.loads(text)["sentences"]]


def collated(samples: Sequence[Sample]) -> Made:
    """The samples as one batch."""
    keys, images, reports = zip(*samples, strict=True)
    return list(keys), torch.from_numpy(np.stack(images)), list(reports)


def webdataset_batches(shards: Path, batch: int, side: int, workers: int) -> Iterator[Made]:
    """Its pipeline: shards shuffled, a shuffle buffer of undecoded samples, decoding, batches; without end."""
    names = [str(path) for path in sorted(shards.glob("*.tar"))]

    def sample(found: dict[str, Any]) -> Sample:
        image = next(found[member] for member in ("jpg", "png") if member in found)
        return decoded(found["__key__"], image, found["json"], side)

    pipeline = (
        wds.WebDataset(names, shardshuffle=len(names), seed=0, empty_check=False)
        .shuffle(SHUFFLE_BUFFER, seed=0)
        .map(sample)
        .batched(batch, collation_fn=collated, partial=False)
        .repeat()
    )
    return iter(wds.WebLoader(pipeline, batch_size=None, num_workers=workers))


def webdataset_skips(shards: Path, count: int) -> None:
    """Reads past `count` samples, the only way to resume its pipeline in the middle."""
    names = [str(path) for path in sorted(shards.glob("*.tar"))]
    for number, _ in enumerate(wds.WebDataset(names, shardshuffle=False, empty_check=False)):
        if number + 1 == count:
            return


def import_streaming(site: Path) -> Any:
    """mosaicml-streaming from a folder that is last in the path, so that installed packages stay in use."""
    for name, values in STAND_INS.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        module.__dict__.update(values)
        sys.modules[name] = module
    sys.path.append(str(site))
    import streaming

    return streaming


def write_mds(streaming: Any, shards: Path, into: Path) -> None:
    """The members of all samples of the shards as MDS shards of the default size."""
    names = [str(path) for path in sorted(shards.glob("*.tar"))]
    kinds = {"key": "str", "image": "bytes", "json": "bytes"}
    with streaming.MDSWriter(out=str(into), columns=kinds) as writer:
        for found in wds.WebDataset(names, shardshuffle=False, empty_check=False):
            image = next(found[member] for member in ("jpg", "png") if member in found)
            writer.write({"key": found["__key__"], "image": image, "json": found["json"]})


def streaming_batches(streaming: Any, mds: Path, batch: int, side: int, workers: int) -> Iterator[Made]:
    """Its data set, shuffled as it does by default, under a DataLoader; without end."""

    class Decoding(streaming.StreamingDataset):  # type: ignore[name-defined,misc]
        def __getitem__(self, at: Any) -> Any:
            found = super().__getitem__(at)
            return decoded(found["key"], found["image"], found["json"], side)

    streaming.base.util.clean_stale_shared_memory()
    data = Decoding(local=str(mds), shuffle=True, shuffle_seed=0, batch_size=batch)
    keep = workers > 0
    loader: Any = DataLoader(
        data, batch, num_workers=workers, collate_fn=collated, drop_last=True, persistent_workers=keep
    )
    while True:
        yield from loader
