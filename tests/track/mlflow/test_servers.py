"""A sweep on real MLflow servers, over SQLite and over PostgreSQL, and what their page shows of it in Chromium."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from sentalign.evaluate.results import run_record
from sentalign.track import mlflow_uploader
from sentalign.track.journal import Journal
from tests.localize.conftest import save_run
from tests.mlflow_servers import mlflow_server, postgresql
from tests.servers import free_port
from tests.track.mlflow.test_results import CONTENT
from tests.track.mlflow.test_tree import TREE

pytestmark = pytest.mark.slow
MILLISECONDS = 90_000  # that the page may take
CHART, PICTURE = ".js-plotly-plot", "pictures/pairs-000000000016/sample-00.png"


@pytest.fixture
def told(sweep):
    """The sweep, whose first trial has pictures of two steps, system metrics, an evaluation and a model."""
    run = sweep / "trials" / "000"
    save_run(run, {"image_size": 32})
    lines = (run / "journal.jsonl").read_text().splitlines()
    (run / "journal.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with Journal(run) as book:
        for pairs in (8, 16):
            path = f"pictures/pairs-{pairs:012d}/sample-00.png"
            (run / path).parent.mkdir(parents=True)
            Image.fromarray(np.full((40, 60), 10 * pairs, np.uint8)).save(run / path)
            book.append("picture", time=1020.0 + pairs / 8, path=path, pairs=pairs)
        book.append("end", time=1031.0, status="finished")
    (run / "system").mkdir()
    samples = [{"kind": "system", "time": 1010.0 + 10 * n, "cpu_utilization_percentage": 20.0 * n} for n in range(3)]
    (run / "system" / "node-0.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    run_record.write(run, "MS-CXR", CONTENT)
    with Journal(sweep) as book:
        book.append("end", time=1200.0, status="finished")
    return sweep


def check(client, ids):
    """All of the story, read back from a server."""
    experiment = client.get_experiment_by_name("story")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    names = {run.info.run_id: name for name, run in runs.items()}
    assert {n: names.get(run.data.tags.get("mlflow.parentRunId", "")) for n, run in runs.items()} == TREE
    assert {n: run.info.status for n, run in runs.items()} == {
        **dict.fromkeys(TREE, "FINISHED"),
        "001": "KILLED",
        "002": "FAILED",
    }
    assert (runs["000"].info.start_time, runs["000"].info.end_time) == (1_010_000, 1_031_000)
    first = ids["trials/000"]
    assert len([f for f in client.list_artifacts(first, "images") if f.path.endswith(".png")]) == 2
    system = client.get_metric_history(first, "system/node-0/cpu_utilization_percentage")
    assert sorted(m.value for m in system) == [0, 20, 40]
    assert runs["000"].data.metrics["evaluation/MS-CXR/seen/pointing"] == 0.9
    assert len(runs["000"].outputs.model_outputs) == 1
    assert {m.step for m in client.get_metric_history(ids["."], "objective/ap")} == {0, 1, 3}
    assert {f.path for f in client.list_artifacts(ids["."])} == {"index.html", "best.yaml", "trials.json"}
    return runs


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def server(request, tmp_path):
    """The address of `mlflow server` on that database."""
    port = free_port()
    if request.param == "SQLite":
        with mlflow_server(tmp_path, port):
            yield f"http://127.0.0.1:{port}"
        return
    with postgresql() as uri, mlflow_server(tmp_path, port, uri):
        yield f"http://127.0.0.1:{port}"


def test_a_server_has_the_whole_story(told, server):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=server)
    ids = mlflow_uploader.sync_tree(told, server, "story")
    runs = check(client, ids)
    assert mlflow_uploader.sync_tree(told, server, "story") == ids
    check(client, ids)
    mlflow.set_tracking_uri(server)
    loaded = mlflow.pyfunc.load_model(runs["000"].data.tags["model.uri"])
    assert np.shape(loaded.predict(loaded.input_example)["map"][0]) == (64, 64)


def test_postgresql_without_a_server_between(told):
    import mlflow

    with postgresql() as uri:
        ids = mlflow_uploader.sync_tree(told, uri, "story")
        check(mlflow.MlflowClient(tracking_uri=uri), ids)
        state = (told / "trials" / "000" / "mlflow_upload.json").read_text()
        assert urlsplit(uri).password not in state


@pytest.fixture
def page(browser):
    made = browser.new_page(viewport={"width": 1400, "height": 900})
    made.set_default_timeout(MILLISECONDS)
    return made


def test_the_page_shows_nested_runs_charts_and_pictures(told, tmp_path, page):
    port = free_port()
    with mlflow_server(tmp_path, port):
        url = f"http://127.0.0.1:{port}"
        ids, hosts = mlflow_uploader.sync_tree(told, url, "story"), set()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or "127.0.0.1"))
        page.goto(f"{url}/#/experiments/1/runs")
        open_row(page, "sweep")
        open_row(page, "003")
        for name in TREE:
            page.get_by_role("link", name=name, exact=True).first.wait_for()
        page.goto(f"{url}/#/experiments/1/runs/{ids['.']}/model-metrics")
        page.wait_for_selector("text=objective")
        page.fill("input[placeholder='Search metric charts']", "objective")
        page.wait_for_selector(f"{CHART} .scatterlayer .point >> nth=2", state="attached")  # a point a trial
        page.goto(f"{url}/#/experiments/1/runs/{ids['trials/000']}/model-metrics")
        page.wait_for_selector("text=validation")
        page.wait_for_selector(f"{CHART} .scatterlayer .point >> nth=1", state="attached")
        page.fill("input[placeholder='Search metric charts']", "sample-00")
        page.wait_for_selector("[role=slider][aria-valuemax='16']")  # the pairs of the last picture
        step = page.locator("input[type=number]").first
        step.fill("16")
        step.press("Enter")
        step.press("Tab")
        page.wait_for_selector("img[src*='sample-00']", state="attached")
        page.goto(f"{url}/#/experiments/1/runs/{ids['trials/000']}/artifacts/{PICTURE}")
        page.wait_for_selector("img[src^='blob:'], img[src*='sample-00']")
        page.goto(f"{url}/#/experiments/1/runs/{ids['trials/000']}/system-metrics")
        page.wait_for_selector("text=cpu_utilization_percentage")
        assert hosts == {"127.0.0.1"}


def open_row(page, name):
    """Shows the runs that are nested in a run."""
    row = page.locator("[role=gridcell][col-id*='Run Name']").filter(has=page.get_by_text(name, exact=True))
    row.locator("button").first.click()
