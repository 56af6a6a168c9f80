"""Time that length buckets save the text tower, on reports of real lengths.

    PYTHONPATH=. python benchmarks/length_buckets.py [--rows 64] [--rounds 3]

Reports are Open-i's archive, the vocabulary a real BERT's, both in $SENTALIGN_REALDATA (else ../shared/data). For each
number of buckets it prints the share of the positions that are padding, and the median over the rounds of the time of
the tower's forward and backward pass (BERT-base's width and heads, four layers), as a ratio to one bucket.
"""

# B reports, T positions

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from sentalign.model import text
from sentalign.stream.batch import Batch, Padding, collate
from sentalign.stream.read.fetch import DecodedSample
from sentalign.tokenizer import Tokenizer
from sharding.sources import open_i_xml
from sharding.text.sections import official
from sharding.text.sentences import split

BUCKETS = (1, 2, 4, 8)
TOWER = {"hidden_size": 768, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 3072}
GREY = np.zeros((1, 1), np.uint8)


def reports(folder: Path) -> list[list[str]]:
    """The sentences of each report that has any, in the archive's order."""
    (archive,) = folder.glob("*.tgz")
    sentences = []
    for name, content in open_i_xml.members(gzip.decompress(archive.read_bytes()), archive.name):
        report = open_i_xml.parse(content, Path(name).stem)
        if report is not None:
            sentences.append(
                [s.text for part in official(report.text) for s in split(report.text, "text", part.start, part.end)]
            )
    return [report for report in sentences if report]


def batches(texts: list[list[str]], tokenizer: Tokenizer, rows: int, buckets: int, rounds: int) -> list[Batch]:
    collated = []
    for begin in range(0, rows * rounds, rows):
        part = texts[begin : begin + rows]
        encoded = [tokenizer.encode(sentences, 97) for sentences in part]
        units = 1 + max(len(sentences) for sentences in texts)
        samples = [DecodedSample(str(i), GREY, (), (), (), "", "") for i in range(len(part))]
        collated.append(
            collate(samples, encoded, [[]] * len(part), [0] * len(part), Padding(97, units, tokenizer.pad_id, buckets))
        )
    return collated


def padding(collated: list[Batch]) -> float:
    """The share of all positions that are padding."""
    real = sum(int(batch.attention_BT.sum()) for batch in collated)
    positions = sum(
        len(piece) * width
        for batch in collated
        for piece, width in zip(batch.order_B.tensor_split(len(batch.widths)), batch.widths, strict=True)
    )
    return 1 - real / positions


def seconds(tower: text.TextTower, batch: Batch) -> float:
    words = (batch.tokens_BT, batch.attention_BT, batch.unit_id_BT, batch.word_counts_BK)
    started = time.perf_counter()
    buckets = text.buckets(*words, batch.word_counts_BK > 0, batch.order_B, batch.widths)
    units_MD, report_BD = (sum(parts) for parts in zip(*map(tower, buckets), strict=True))
    (units_MD.square().sum() + report_BD.square().sum()).backward()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64, help="reports of one rank")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    data = Path(os.environ.get("SENTALIGN_REALDATA", "../shared/data"))
    texts = reports(data / "openi")
    tokenizer = Tokenizer.from_vocabulary(next((data / "tokenizer").glob("*vocab*")), cased=True)
    torch.manual_seed(0)
    tower = text.build(None, TOWER, len(tokenizer.vocabulary), 4)
    collated = {buckets: batches(texts, tokenizer, args.rows, buckets, args.rounds) for buckets in BUCKETS}
    seconds(tower, collated[1][0])  # warm-up
    times: dict[int, list[float]] = {buckets: [] for buckets in BUCKETS}
    for i in range(args.rounds):
        for buckets in BUCKETS:
            times[buckets].append(seconds(tower, collated[buckets][i]))
    base = statistics.median(times[1])
    print(f"{args.rows} reports a batch, {args.rounds} batches, {torch.get_num_threads()} threads")
    for buckets in BUCKETS:
        median = statistics.median(times[buckets])
        share = padding(collated[buckets])
        print(f"{buckets} buckets: padding {share:4.0%}, {median:6.2f} s, {median / base:.2f} of the time of one")


if __name__ == "__main__":
    main()
