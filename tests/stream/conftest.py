"""Shards for the stream's tests, written by webdataset and described by a manifest, without the sharding tool."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from sentalign.tokenizer import SPECIAL, Tokenizer
from sharding.contract import FORMAT_VERSION, MANIFEST_NAME, MANIFEST_SCHEMA, SHARD_NAME, Sentence, SentenceTuple

SENTENCES = ("The heart is large.", "No pneumothorax.", "Small left effusion.", "Unchanged lines.", "Clear lungs.")


def tuples(count: int, split: str = "train", silent: Sequence[int] = ()) -> list[SentenceTuple]:
    """Samples of 1 to 5 sentences; sample i has a flat picture of grey i, and no text where i is in `silent`."""
    made = []
    for i in range(count):
        file = io.BytesIO()
        Image.fromarray(np.full((40, 30), i % 256, np.uint8)).save(file, "PNG")
        sentences = () if i in silent else tuple(Sentence(text, "findings", 0, 1) for text in SENTENCES[: 1 + i % 5])
        key, study = f"{split}-{i:04d}", f"s{i // 2}"
        made.append(SentenceTuple(key, file.getvalue(), "png", sentences, "PA", study, f"p{i // 4}", split, {}))
    return made


def write(folder: Path, samples: Sequence[SentenceTuple], per_shard: int = 7) -> str:
    """The samples as shards with a manifest; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, shards = [], {}
    for number, begin in enumerate(range(0, len(samples), per_shard)):
        part, file = samples[begin : begin + per_shard], folder / SHARD_NAME.format(number)
        with webdataset.TarWriter(str(file), mtime=0) as writer:
            for sample in part:
                text = json.dumps(sample.as_json()).encode()
                writer.write({"__key__": sample.key, sample.image_member: sample.image, "json": text})
        rows += _rows(file, part)
        content = file.read_bytes()
        shards[file.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "samples": len(part)}
    metadata = {"format_version": FORMAT_VERSION, "settings": {}, "shards": shards, "counts": {"samples": len(samples)}}
    metadata = {key: json.dumps(value) for key, value in metadata.items()}
    table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA.with_metadata(metadata))
    pq.write_table(table, folder / MANIFEST_NAME)
    return str(folder)


def _rows(file: Path, samples: Sequence[SentenceTuple]) -> list[dict]:
    with tarfile.open(file) as archive:
        found = {member.name: member for member in archive}
    content, rows = file.read_bytes(), []
    for sample in samples:
        row = {"key": sample.key, "shard": file.name, "image_member": sample.image_member, "width": 30, "height": 40}
        for name, kind in (("image", sample.image_member), ("json", "json")):
            member = found[f"{sample.key}.{kind}"]
            row[f"{name}_offset"], row[f"{name}_bytes"] = member.offset_data, member.size
            part = content[member.offset_data : member.offset_data + member.size]
            row[f"{name}_sha256"] = hashlib.sha256(part).hexdigest()
        row |= {"view": sample.view, "patient": sample.patient, "study": sample.study, "split": sample.split}
        hashes = [sentence.hash for sentence in sample.sentences]
        rows.append(row | {"sentence_count": len(hashes), "text_hashes": hashes})
    return rows


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A vocabulary of the words of SENTENCES."""
    words = sorted(set(" ".join(SENTENCES).replace(".", " .").split()))
    return Tokenizer([*SPECIAL, *words], cased=True)


@pytest.fixture(scope="session")
def make_shards(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """make_shards(count, split, silent, texts, image, image_member) -> the folder of new shards.

    `texts` and `image` replace the sentences and the picture of every sample.
    """

    def make(
        count: int,
        split: str = "train",
        silent: Sequence[int] = (),
        texts: Sequence[str] = (),
        image: bytes = b"",
        image_member: str = "png",
    ) -> str:
        samples = tuples(count, split, silent)
        if texts:
            sentences = tuple(Sentence(text, "findings", 0, 1) for text in texts)
            samples = [replace(sample, sentences=sentences) for sample in samples]
        if image:
            samples = [replace(sample, image=image, image_member=image_member) for sample in samples]
        return write(tmp_path_factory.mktemp("shards"), samples)

    return make


@pytest.fixture(scope="session")
def shards(make_shards: Callable[..., str]) -> str:
    """50 training samples, two of them without text."""
    return make_shards(50, silent=(3, 17))
