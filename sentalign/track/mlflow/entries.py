"""Journal entries → calls of the MLflow client: metrics, parameters, tags, data sets, pictures, the end.

In: entries of one run in the order of writing. Out: an MLflow run that has them. Sending an entry twice changes
nothing, apart from its pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentalign.track import journal
from sentalign.track.mlflow.connection import public, public_text

# Limits of MLflow 3 (mlflow.utils.validation): characters of a value, values per call.
PARAM_CHARACTERS, PARAMS_PER_CALL, METRICS_PER_CALL = 6000, 100, 1000
TAG_CHARACTERS, DIGEST_CHARACTERS = 5000, 36
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "stopped": "KILLED"}


def send(client: Any, run_id: str, run: Path, entries: Sequence[journal.Entry]) -> None:
    """Sends some entries of the journal of the folder `run`."""
    log_metrics(client, run_id, [(entry, journal.metrics(entry)) for entry in entries])
    for entry in entries:
        kind = entry["kind"]
        if kind == "start":
            _start(client, run_id, run, entry)
        elif kind == "picture":
            _picture(client, run_id, run / entry["path"], entry)
        elif kind == "best":
            tags = {"best.pairs": entry.get("pairs"), "best.value": entry.get("value")}
            set_tags(client, run_id, {name: str(value) for name, value in tags.items() if value is not None})
        elif kind == "end":
            end(client, run_id, entry["status"], entry["time"], entry.get("error", ""))


def log_metrics(client: Any, run_id: str, named: Sequence[tuple[journal.Entry, dict[str, float]]]) -> None:
    """Metrics with the time and the pairs, else the `step`, of an entry."""
    from mlflow.entities import Metric

    metrics = [
        Metric(mlflow_name(name), value, round(entry["time"] * 1000), int(entry.get("pairs") or entry.get("step") or 0))
        for entry, values in named
        for name, value in values.items()
    ]
    for first in range(0, len(metrics), METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[first : first + METRICS_PER_CALL])


def log_params(client: Any, run_id: str, values: dict[str, Any], known: dict[str, str]) -> None:
    """Parameters that the run does not have. One cannot change in MLflow: a resumed run with another data.workers
    keeps the first value.
    """
    from mlflow.entities import Param

    params = [
        Param(mlflow_name(key), public_text(str(value))[:PARAM_CHARACTERS])
        for key, value in flat(values).items()
        if mlflow_name(key) not in known
    ]
    for first in range(0, len(params), PARAMS_PER_CALL):
        client.log_batch(run_id, params=params[first : first + PARAMS_PER_CALL])


def set_tags(client: Any, run_id: str, tags: dict[str, str]) -> None:
    """All of them in one call, without the credentials of addresses."""
    from mlflow.entities import RunTag

    public = {mlflow_name(name): public_text(value)[:TAG_CHARACTERS] for name, value in tags.items()}
    if public:
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in public.items()])


def end(client: Any, run_id: str, status: str, time: float, error: str = "") -> None:
    """The run ended so, at that time; its error is a tag, and the description that MLflow's page shows."""
    if error:
        set_tags(client, run_id, {"error": error, "mlflow.note.content": f"**{status}**: {error}"})
    client.set_terminated(run_id, STATUS.get(status, "FAILED"), round(time * 1000))


def creation_tags(entry: journal.Entry) -> dict[str, str]:
    """The tags that MLflow expects when a run is created, from its start entry."""
    source = {"mlflow.source.name": "sentalign", "mlflow.source.type": "LOCAL"}
    return source | ({"mlflow.user": entry["user"]} if entry.get("user") else {})


def _start(client: Any, run_id: str, run: Path, entry: journal.Entry) -> None:
    sent = client.get_run(run_id)
    if sent.info.status != "RUNNING":
        client.update_run(run_id, status="RUNNING")
    log_params(client, run_id, entry.get("config", {}), sent.data.params)
    tags = {f"version.{name}": str(version) for name, version in entry.get("versions", {}).items()}
    git = entry.get("git") or {}
    if git:
        tags |= {"mlflow.source.git.commit": git["commit"], "git.dirty": str(git["dirty"]).lower()}
    tags |= {name: str(entry[name]) for name in ("gpus", "ranks", "nodes") if entry.get(name) is not None}
    set_tags(client, run_id, tags)
    _data_sets(client, run_id, entry.get("data") or [])
    if (run / "config.yaml").is_file():
        client.log_text(run_id, public_text((run / "config.yaml").read_text()), "config.yaml")


def _data_sets(client: Any, run_id: str, data_sets: list[dict[str, Any]]) -> None:
    """Each as a data set of MLflow, whose digest is the beginning of the manifest's fingerprint."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for data in data_sets:
        source = public(data["source"])
        kind = source.partition("://")[0] if "://" in source else "local"
        profile = {"num_rows": data["samples"], "splits": data["splits"], "fingerprint": data["fingerprint"]}
        made = Dataset(
            data["name"],
            data["fingerprint"][:DIGEST_CHARACTERS],
            source_type=kind,
            source=json.dumps({"uri": source}),
            profile=json.dumps(profile),
        )
        inputs.append(DatasetInput(made, [InputTag("mlflow.data.context", "training")]))
    if inputs:
        client.log_inputs(run_id, inputs)


def _picture(client: Any, run_id: str, file: Path, entry: journal.Entry) -> None:
    """A picture of a step: a file of its own, and in a chart of MLflow's page with a slider over the steps, where a run
    with many parameters leaves it little room.
    """
    from PIL import Image

    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
    except OSError:  # deleted since, or damaged: nothing that a later attempt could send
        return
    # A key with a slash is not found again by the page of MLflow 3.17.
    key, time = re.sub(r"[^\w\-. ]", "_", file.stem), round(entry["time"] * 1000)
    client.log_artifact(run_id, str(file), f"pictures/pairs-{entry.get('pairs', 0):012d}")
    client.log_image(run_id, picture, key=key, step=entry.get("pairs", 0), timestamp=time, synchronous=True)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings → one, with dotted names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def mlflow_name(name: str) -> str:
    """A name that MLflow accepts: letters, digits and `_-. :/`, at most 250."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]
