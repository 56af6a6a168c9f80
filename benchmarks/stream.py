"""Throughput of the stream, a bare decode loop, webdataset and mosaicml-streaming; and resume, shuffle and memory.

In: a folder of X-rays (without one: phantoms). Out: printed figures, all of one run, over shards as the sharding tool
writes them by default and in the same rounds, so that other load of the machine affects all of them:
- in one process: processor time a sample of fetch, decode, square and collate, as a share of the bare loops'
  throughput. `decode` is JPEG bytes in memory to pixels, `decode + square` also scales them to the network's input,
  which all three pipelines do. Squaring is also measured alone, and subtracted in one line. Only the stream takes
  checksums; it is measured without them too.
- with two worker processes of each: processor time of all processes, and wall time, in the steady state;
- tokenising alone: the pipelines are compared without it;
- with --beside: resume cost, shuffle quality and memory over an epoch (`stream_beside`).

    python benchmarks/stream.py [--images FOLDER] [--samples 2600] [--rounds 5] [--beside] [--streaming SITE]

SITE is a folder with mosaicml-streaming; its other imports are installed in the environment:

    pip install --no-deps --target SITE mosaicml-streaming Brotli python-snappy cramjam zstd xxhash catalogue
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import stream_beside
import stream_rivals as rivals
import stream_shards
import torch
from PIL import Image

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.read.fetch import Shards
from sentalign.tokenizer import SPECIAL, Row, Tokenizer
from sharding.pixels import letterbox

WARM = 4  # batches before and after the measurement: as many as two workers have in flight
TICKS = os.sysconf("SC_CLK_TCK")
Work = Callable[[], Iterator[int]]  # the samples of each batch, without end
Spent = tuple[float, float]  # processor and wall time of a sample, microseconds


class Untokenized(Tokenizer):
    """Encodes every report as the same three pieces, so that the pipelines do the same work."""

    def encode(self, sentences: Any, max_tokens: int) -> Row:
        return Row([2, 1, 1, 1, 3], [-1, 0, 0, 0, -1], [3], [False, True, True, True, False])


def ours(folder: Path, batch: int, side: int, workers: int, checked: bool = True) -> Iterator[int]:
    """The stream; not `checked`, without the sha256 of each member, which the others do not take."""
    data = Data(shards=str(folder), batch=batch, image_size=side, workers=workers)
    stream = Stream(data, 0, 0, 1, Untokenized(list(SPECIAL), cased=True), "train")
    if not checked:
        for shards in stream.mixture.data_sets:
            shards._member = unchecked  # type: ignore[method-assign]
    return (len(rows.keys) for rows, _ in stream.batches(stream.start()))


def unchecked(row: dict[str, Any], member: str, content: bytes, begin: int) -> bytes:
    """A member of a sample without its sha256."""
    place = row[f"{member}_offset"] - begin
    return content[place : place + row[f"{member}_bytes"]]


def bare(images: list[bytes], batch: int, side: int) -> Iterator[int]:
    """Decodes, and squares where `side` is given; nothing is collated."""
    for number, content in enumerate(cycle(images)):
        image = Image.open(io.BytesIO(content))
        grey_HW = np.asarray(image if image.mode == "L" else image.convert("L"))
        if side:
            letterbox(grey_HW, side)
        if number % batch == batch - 1:
            yield batch


def square(greys: list[Any], batch: int, side: int) -> Iterator[int]:
    for number, grey_HW in enumerate(cycle(greys)):
        letterbox(grey_HW, side)
        if number % batch == batch - 1:
            yield batch


def counted(batches: Iterator[rivals.Made]) -> Iterator[int]:
    return (len(keys) for keys, _, _ in batches)


def processor_seconds() -> float:
    """Of this process and its workers, those that are alive."""
    spent = time.process_time()
    for child in active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / TICKS
    return spent


def measured(work: Work, batches: int) -> Spent:
    """Over `batches` batches of the steady state."""
    running = work()
    for _ in range(WARM):
        next(running)
    spent, started = processor_seconds(), time.perf_counter()
    samples = sum(next(running) for _ in range(batches))
    wall, spent = time.perf_counter() - started, processor_seconds() - spent
    del running
    gc.collect()  # its workers end
    return 1e6 * spent / samples, 1e6 * wall / samples


def rounds(works: dict[str, Work], batches: int, count: int) -> dict[str, list[Spent]]:
    """All works in turn, `count` times."""
    found: dict[str, list[Spent]] = {name: [] for name in works}
    for number in range(count):
        for name in list(works)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(measured(works[name], batches))
    return found


def table(title: str, found: dict[str, list[Spent]], against: str) -> dict[str, float]:
    """Prints medians and spread; returns the medians of the processor time."""
    print(f"\n{title}\n{'':28}{'processor us':>14}{'spread':>16}{'wall us':>10}{'x ' + against:>22}")
    for name, spent in found.items():
        processor, wall = ([one[i] for one in spent] for i in range(2))
        ratio = statistics.median(other[0] / one[0] for other, one in zip(found[against], spent, strict=True))
        spread = f"{min(processor):.0f} to {max(processor):.0f}"
        middle = statistics.median(processor)
        print(f"{name:28}{middle:14.0f}{spread:>16}{statistics.median(wall):10.0f}{ratio:22.3f}")
    return {name: statistics.median(one[0] for one in spent) for name, spent in found.items()}


def pipelines(shards: Path, mds: Path | None, streaming: Any, batch: int, side: int, workers: int) -> dict[str, Work]:
    found: dict[str, Work] = {
        "sentalign": partial(ours, shards, batch, side, workers),
        "sentalign, no sha256": partial(ours, shards, batch, side, workers, False),
        "webdataset": lambda: counted(rivals.webdataset_batches(shards, batch, side, workers)),
    }
    if mds:
        found["mosaicml-streaming"] = lambda: counted(rivals.streaming_batches(streaming, mds, batch, side, workers))
    return found


def one_process(found: dict[str, list[Spent]]) -> None:
    table("one process", found, "sentalign")
    less = [one[0] - alone[0] for one, alone in zip(found["sentalign"], found["square"], strict=True)]
    share = statistics.median(loop[0] / one for loop, one in zip(found["decode"], less, strict=True))
    print(f"sentalign without squaring, as a share of the bare decode loop's throughput: {share:.3f}")


def tokenising(shards: Shards, vocabulary: Path | None) -> None:
    """The processor time of a report, when its sentences are new and when they were encoded before."""
    reports = [shards.read(i).sentences for i in range(len(shards))]
    sentences = [sentence for report in reports for sentence in report]
    tokenizer = (
        Tokenizer.from_vocabulary(vocabulary, cased=True)
        if vocabulary
        else Tokenizer.train(sentences, 2000, cased=True)
    )
    spent = []
    for _ in range(2):
        started = time.process_time()
        for report in reports:
            tokenizer.encode(report, 97)
        spent.append(1e6 * (time.process_time() - started) / len(reports))
    each = len(sentences) / len(reports)
    print(f"\ntokenising a report of {each:.1f} sentences: {spent[0]:.0f} us, again {spent[1]:.0f} us")


def bytes_of(shards: Shards) -> list[bytes]:
    """The pictures of all samples, as stored."""
    found = []
    for i in range(len(shards)):
        row, (content,) = shards.row(i), shards.fetch([i])
        found.append(unchecked(row, "image", content, min(row["image_offset"], row["json_offset"])))
    return found


def compare(shards: Path, values: argparse.Namespace, scratch: Path) -> None:
    """The loops and the pipelines, by one process and by two workers."""
    streaming, mds = None, None
    if values.streaming:
        streaming, mds = rivals.import_streaming(values.streaming), scratch / "mds"
        rivals.write_mds(streaming, shards, mds)
    data_set = Shards(str(shards), "train")
    images = bytes_of(data_set)
    greys = [np.asarray(Image.open(io.BytesIO(content)).convert("L")) for content in images[:200]]
    sizes = [grey_HW.shape for grey_HW in greys]
    print(
        f"{len(data_set)} samples of {np.mean([len(content) for content in images]) / 1e3:.0f} kB, on average "
        f"{np.mean([size[1] for size in sizes]):.0f} x {np.mean([size[0] for size in sizes]):.0f} pixels, to "
        f"{values.side} x {values.side}, batches of {values.batch}, {values.rounds} rounds, warm page cache"
    )
    batches = len(data_set) // values.batch - 2 * WARM  # within an epoch: mosaicml-streaming stops after it
    loops: dict[str, Work] = {
        "decode": partial(bare, images, values.batch, 0),
        "decode + square": partial(bare, images, values.batch, values.side),
        "square": partial(square, greys, values.batch, values.side),
    }
    of_workers = partial(pipelines, shards, mds, streaming, values.batch, values.side)
    one_process(rounds(loops | of_workers(0), batches, values.rounds))
    table("two workers", rounds(of_workers(2), batches, values.rounds), "sentalign")
    tokenising(data_set, values.vocabulary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of PNG and JPEG files; without it phantoms are made")
    parser.add_argument("--shards", type=Path, help="existing shards, read instead")
    parser.add_argument("--samples", type=int, default=2600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--vocabulary", type=Path, help="vocab.txt; without it one is trained")
    parser.add_argument("--streaming", type=Path, metavar="SITE")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--only-beside", action="store_true")
    values = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = scratch / "set"
        if values.shards:
            shards = values.shards
        elif values.images:
            shards = stream_shards.of_images(values.images, folder, values.samples)
        else:
            shards = stream_shards.of_phantoms(folder, values.samples)
        if not values.only_beside:
            compare(shards, values, scratch)
        if values.beside or values.only_beside:
            stream_beside.report(shards, scratch, values.streaming)


if __name__ == "__main__":
    main()
