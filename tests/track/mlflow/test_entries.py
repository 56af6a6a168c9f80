"""What a start entry says is in MLflow where its page looks for it; no password is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sentalign.track import mlflow_uploader
from sentalign.track.journal import Journal
from sentalign.track.mlflow import connection, entries

ORIGIN = {
    "versions": {"python": "3.11.9", "torch": "2.13.0"},
    "git": {"commit": "0" * 40, "dirty": True},
    "user": "somebody",
    "gpus": "8 x NVIDIA H100",
    "ranks": 8,
    "nodes": 2,
    "data": [
        {"name": "shards", "source": "s3://me:secret@bucket/shards", "fingerprint": "ab" * 32, "samples": 120,
         "splits": {"train": 100, "validate": 20}},
        {"name": "other", "source": "/data/other", "fingerprint": "cd" * 32, "samples": 9, "splits": {"train": 9}},
    ],
}  # fmt: skip


def test_where_a_run_comes_from(tmp_path, store, client):
    run = tmp_path / "origin"
    with Journal(run) as book:
        book.append("start", pairs=0, config={"seed": 1, "url": "https://me:secret@host/x"}, **ORIGIN)
    sent = client.get_run(mlflow_uploader.sync(run, store, "entries"))
    tags = sent.data.tags
    assert tags["mlflow.source.git.commit"] == "0" * 40
    assert (tags["git.dirty"], tags["mlflow.user"], sent.info.user_id) == ("true", "somebody", "somebody")
    assert (tags["version.python"], tags["gpus"], tags["ranks"], tags["nodes"]) == (
        "3.11.9",
        "8 x NVIDIA H100",
        "8",
        "2",
    )
    assert sent.data.params == {"seed": "1", "url": "https://host/x"}
    shards, other = sorted((one for one in sent.inputs.dataset_inputs), key=lambda one: one.dataset.name, reverse=True)
    assert (shards.dataset.name, shards.dataset.digest) == ("shards", ("ab" * 32)[:36])
    assert json.loads(shards.dataset.source) == {"uri": "s3://bucket/shards"}
    assert shards.dataset.source_type == "s3"
    assert json.loads(shards.dataset.profile)["fingerprint"] == "ab" * 32
    assert [(tag.key, tag.value) for tag in shards.tags] == [("mlflow.data.context", "training")]
    assert (other.dataset.source_type, json.loads(other.dataset.source)) == ("local", {"uri": "/data/other"})


def test_what_is_unknown_is_absent(tmp_path, store, client):
    with Journal(tmp_path / "plain") as book:
        book.append("start", pairs=0, config={})
    sent = client.get_run(mlflow_uploader.sync(tmp_path / "plain", store, "entries"))
    assert not {"mlflow.source.git.commit", "git.dirty", "mlflow.user", "gpus"} & sent.data.tags.keys()
    assert sent.inputs.dataset_inputs == []


def test_pictures_of_every_step_stay(tmp_path, store, client):
    run = tmp_path / "pictures"
    with Journal(run) as book:
        book.append("start", pairs=0, config={})
        for pairs in (8, 16):
            path = f"pictures/pairs-{pairs}/sample-00.png"
            (run / path).parent.mkdir(parents=True)
            Image.new("L", (4, 4), pairs).save(run / path)
            book.append("picture", path=path, pairs=pairs)
        book.append("picture", path="pictures/gone.png", pairs=16)
        (run / "pictures" / "bad.png").write_bytes(b"no picture")
        book.append("picture", path="pictures/bad.png", pairs=16)
    run_id = mlflow_uploader.sync(run, store, "entries")
    names = [f.path for f in client.list_artifacts(run_id, "images") if f.path.endswith(".png")]
    assert sorted(name.split("+")[0:3] for name in names) == [
        ["images/sample-00", "step", "16"],
        ["images/sample-00", "step", "8"],
    ]
    files = [f.path for pairs in (8, 16) for f in client.list_artifacts(run_id, f"pictures/pairs-{pairs:012d}")]
    assert files == [f"pictures/pairs-{pairs:012d}/sample-00.png" for pairs in (8, 16)]


def test_how_a_run_failed_is_its_description(tmp_path, store, client):
    with Journal(tmp_path / "failed") as book:
        book.append("start", pairs=0, config={})
        book.append("end", status="failed", error="UserError: lower data.batch")
    sent = client.get_run(mlflow_uploader.sync(tmp_path / "failed", store, "entries"))
    assert sent.info.status == "FAILED"
    assert sent.data.tags["error"] == "UserError: lower data.batch"
    assert sent.data.tags["mlflow.note.content"] == "**failed**: UserError: lower data.batch"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
        ("track: {uri: 'http://me:pass@host:80/x'}", "track: {uri: 'http://host:80/x'}"),
        ("postgresql://me:p@ss@host/db", "postgresql://host/db"),
        ("write to me@host, see http://host/a@b", "write to me@host, see http://host/a@b"),
    ],
)
def test_credentials_leave_a_text(text, shown):
    assert connection.public_text(text) == shown


WORD = st.text(
    st.characters(codec="ascii", exclude_characters="/'\"\\ \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f", min_codepoint=33),
    min_size=1,
)


@given(WORD, WORD.map(lambda word: word.replace("@", "")), st.text())
def test_no_credentials_survive_in_any_text(secret, host, around):
    shown = connection.public_text(f"{around} s3://{secret}@{host}/path")
    assert shown.endswith(f"s3://{host}/path")


@given(st.text())
def test_every_name_becomes_one_that_mlflow_takes(name):
    from mlflow.utils.validation import _validate_metric_name

    made = entries.mlflow_name(f"x{name}")
    _validate_metric_name(made) if "/." not in made and "//" not in made and not made.endswith("/") else None
