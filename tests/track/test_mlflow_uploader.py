"""The MLflow uploader against a real SQLite store and a real server: nothing is lost, nothing is sent twice, nothing
waits.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import psutil
import pytest
from PIL import Image

from sentalign.track import cli, mlflow_uploader
from sentalign.track.journal import Journal
from sentalign.track.mlflow import connection
from sentalign.track.mlflow_uploader import MlflowUploader, sync
from sharding.contract import UserError
from tests.mlflow_servers import mlflow_server
from tests.servers import free_port


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite store for all tests here: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def curve(uri: str, run_id: str, name: str = "loss") -> list[tuple[int, float]]:
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(run_id, name)
    return sorted((metric.step, metric.value) for metric in history)


def write(run: Path, pairs: range, end: str | None = None) -> None:
    with Journal(run) as book:
        book.append("start", run=run.name, config={"loss": {"t1": 4.0}, "note": "x" * 9000}, versions={"torch": "2"})
        for seen in pairs:
            book.append("metrics", step=seen, pairs=seen, loss=1.0 / seen)
        if end:
            book.append("end", status=end)


def test_a_run_arrives_whole(tmp_path: Path, store: str) -> None:
    run = tmp_path / "run"
    (run / "pictures").mkdir(parents=True)
    Image.new("L", (6, 4), 200).save(run / "pictures" / "a.png")
    (run / "config.yaml").write_text("seed: 0\ntrack: {uri: 'http://me:secret@host/'}\n")
    uploader = MlflowUploader(run, store, "whole", parent_run="0" * 32)
    with Journal(run) as book:
        uploader.start()
        book.append("start", run="run", config={"loss": {"t1": 4.0}, "track": {"uri": "http://me:secret@host/"}})
        book.append("metrics", step=1, pairs=8, **{"loss": 0.5, "bad name!": float("nan")})
        book.append("validation", pairs=8, loss=0.25)
        book.append("picture", path="pictures/a.png", pairs=8)
        book.append("best", pairs=8)
        book.append("end", status="finished")
    assert uploader.close()
    client = mlflow.MlflowClient(tracking_uri=store)
    [state] = json.loads((run / "mlflow_upload.json").read_text()).values()
    sent = client.get_run(state["run_id"])
    assert sent.info.status == "FINISHED"
    assert sent.data.params == {"loss.t1": "4.0", "track.uri": "http://host/"}
    assert sent.data.metrics["validation/loss"] == 0.25
    assert sent.data.tags["mlflow.parentRunId"] == "0" * 32
    assert sent.data.tags["best.pairs"] == "8"
    names = [Path(file.path).name for file in client.list_artifacts(state["run_id"], "images")]
    shown = sorted((name.partition("+")[0], Path(name).suffix) for name in names)
    assert shown == [("a", ".png"), ("a", ".webp")]
    assert all("+step+8+" in name for name in names)
    assert [file.path for file in client.list_artifacts(state["run_id"])] == ["config.yaml", "images", "pictures"]
    shown = mlflow.artifacts.load_text(f"{sent.info.artifact_uri}/config.yaml")
    assert shown == "seed: 0\ntrack: {uri: 'http://host/'}\n", "no password leaves the machine"


def test_a_restarted_run_goes_on_in_the_same_mlflow_run(tmp_path: Path, store: str) -> None:
    run = tmp_path / "run"
    write(run, range(1, 4), "interrupted")
    first = sync(run, store, "restart")
    assert mlflow.MlflowClient(tracking_uri=store).get_run(first).info.status == "KILLED"
    write(run, range(4, 6))
    assert sync(run, store, "restart") == first
    assert sync(run, store, "restart") == first
    assert curve(store, first) == [(n, 1.0 / n) for n in range(1, 6)]
    assert mlflow.MlflowClient(tracking_uri=store).get_run(first).info.status == "RUNNING"


def test_a_crash_between_sending_and_remembering_sends_nothing_twice(tmp_path: Path, store: str) -> None:
    run = tmp_path / "run"
    write(run, range(1, 4))
    run_id = sync(run, store, "crash")
    state = json.loads((run / "mlflow_upload.json").read_text())
    state[store]["offset"] = 0
    (run / "mlflow_upload.json").write_text(json.dumps(state))
    assert sync(run, store, "crash") == run_id
    assert curve(store, run_id) == [(n, 1.0 / n) for n in range(1, 4)]


def test_a_replay_has_one_curve_of_a_resumed_run(tmp_path: Path, store: str) -> None:
    run = tmp_path / "run"
    with Journal(run) as book:
        for first, sign in ((0, 1), (2, -1)):
            book.append("start", pairs=first)
            for pairs in range(first + 1, first + 4):
                book.append("metrics", pairs=pairs, loss=float(sign * pairs))
    assert curve(store, sync(run, store, "replay")) == [(1, 1.0), (2, 2.0), (3, -3.0), (4, -4.0), (5, -5.0)]


def test_more_lines_than_one_call_takes(tmp_path: Path, store: str) -> None:
    run = tmp_path / "run"
    write(run, range(1, 1200))
    assert len(curve(store, sync(run, store, "many"))) == 1199


def test_a_lost_store_gets_the_run_again(tmp_path: Path, store: str) -> None:
    run = tmp_path / "run"
    write(run, range(1, 3))
    first = sync(run, store, "lost")
    mlflow.MlflowClient(tracking_uri=store).delete_run(first)
    second = sync(run, store, "lost")
    assert second != first
    assert len(curve(store, second)) == 2


def test_no_uri_sends_nothing(tmp_path: Path) -> None:
    uploader = MlflowUploader(tmp_path, None, "none")
    uploader.start()
    assert uploader.close(0.0)
    assert not list(tmp_path.iterdir())


def test_the_same_file_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert connection.absolute("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert connection.absolute("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"
    assert connection.absolute("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


def sync_by_command(*words: str) -> None:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["track", "sync", *words])
    args.command(args)


def test_the_command_finds_the_store_of_the_run(tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    write(run, range(1, 3))
    with pytest.raises(UserError, match="add --uri"):
        sync_by_command("--run", str(run))
    (run / "config.yaml").write_text(f"track: {{uri: '{store}', experiment: command}}\n")
    sync_by_command("--run", str(run), "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["experiment"] == "command"
    assert len(curve(store, said["run_id"])) == 2


def test_the_command_wants_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no journal\.jsonl"):
        sync_by_command("--run", str(tmp_path), "--uri", "sqlite:////tmp/never.db")


def train_beside(uploader: MlflowUploader, run: Path) -> None:
    """Two hundred steps as training writes them, and the end. Whatever waited for the server would never return."""
    uploader.start()
    write(run, range(1, 201), "finished")
    assert not uploader.close(timeout=3.0)


def test_a_dead_server_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    train_beside(MlflowUploader(run, f"http://127.0.0.1:{free_port()}", "dead"), run)
    [line] = capsys.readouterr().err.splitlines()
    assert "(API request to http://127.0.0.1" in line, "the failed request is the reason"
    assert f"sentalign track sync {run}" in line


@contextlib.contextmanager
def faulty_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A server that treats every request so; its address, and the requests that it got."""
    requests: list[str] = []

    class Faulty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            answer(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_answers_500_stops_nothing(
    tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with faulty_server(lambda handler: handler.send_error(500)) as (uri, requests):
        train_beside(MlflowUploader(run, uri, "failing"), run)
        assert requests, "the fault did not happen"
        with pytest.raises(UserError, match="check the address"):
            sync(run, uri, "failing")
    assert capsys.readouterr().err.count("warning") == 1
    assert len(curve(store, sync(run, store, "failing"))) == 200


def test_a_deleted_experiment_is_called_that(tmp_path: Path, store: str) -> None:
    run = tmp_path / "run"
    write(run, range(1, 3), "finished")
    sync(run, store, "gone")
    client = mlflow.MlflowClient(tracking_uri=store)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    write(tmp_path / "second", range(1, 3), "finished")
    with pytest.raises(UserError, match="restore the experiment in MLflow, or name another with --experiment"):
        sync(tmp_path / "second", store, "gone")


def test_a_server_that_never_answers_stops_nothing(tmp_path: Path) -> None:
    run, released = tmp_path / "run", threading.Event()
    with faulty_server(lambda handler: released.wait(120) or None) as (uri, requests):
        train_beside(MlflowUploader(run, uri, "silent"), run)
        assert requests, "the fault did not happen"
        assert not released.is_set()  # all steps were written while the request was still open
        released.set()


@pytest.mark.slow
def test_a_server_that_never_answers_delays_the_end_by_at_most_ten_seconds(tmp_path: Path) -> None:
    """From the end of the journal to the exit of the process."""
    program = (
        "import sys, time; from pathlib import Path\n"
        "from sentalign.track.journal import Journal; from sentalign.track.mlflow_uploader import MlflowUploader\n"
        "run = Path(sys.argv[1]); uploader = MlflowUploader(run, sys.argv[2], 'silent'); uploader.start()\n"
        "with Journal(run) as book:\n"
        "    book.append('start', config={}, pairs=0); time.sleep(3); book.append('end', status='finished')\n"
        "print(time.time()); uploader.close()"
    )
    released = threading.Event()
    with faulty_server(lambda handler: released.wait(120) or None) as (uri, requests):
        words = [sys.executable, "-c", program, str(tmp_path / "run"), uri]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        delay = time.time() - float(done.stdout)
        released.set()
    assert requests, "the fault did not happen"
    assert "warning: MLflow does not have all of this run" in done.stderr
    assert delay < 10, f"{delay:.1f} s"


@pytest.mark.slow
def test_processes_that_start_together_share_one_new_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    program = (
        "import sys; from pathlib import Path; from sentalign.track.mlflow_uploader import sync\n"
        "sync(Path(sys.argv[1]), sys.argv[2], 'race')"
    )
    runs = [tmp_path / name for name in ("one", "two")]
    for run in runs:
        write(run, range(1, 3))
    started = [subprocess.Popen([sys.executable, "-c", program, str(run), uri]) for run in runs]
    assert [process.wait(100) for process in started] == [0, 0]
    assert len(mlflow.MlflowClient(tracking_uri=uri).search_experiments(filter_string="name = 'race'")) == 1


@pytest.mark.slow
def test_a_server_that_dies_hangs_and_comes_back_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mlflow_uploader, "LONGEST_PAUSE_SECONDS", 4.0)
    port, run = free_port(), tmp_path / "run"
    uri = f"http://127.0.0.1:{port}"
    with Journal(run) as book:

        def steps(pairs: range) -> None:
            for seen in pairs:
                book.append("metrics", step=seen, pairs=seen, loss=1.0 / seen)
                time.sleep(0.01)

        with mlflow_server(tmp_path, port) as server:
            uploader = MlflowUploader(run, uri, "outage")
            uploader.start()
            book.append("start", run="run", config={"seed": 0})
            steps(range(1, 300))
            os.killpg(server.pid, signal.SIGSTOP)
            steps(range(300, 600))
            assert psutil.Process(server.pid).status() == psutil.STATUS_STOPPED
            os.killpg(server.pid, signal.SIGCONT)
            steps(range(600, 700))
        steps(range(700, 1000))
        with mlflow_server(tmp_path, port):
            book.append("end", status="finished")
            assert uploader.close(timeout=60.0)
            [state] = json.loads((run / "mlflow_upload.json").read_text()).values()
            assert curve(uri, state["run_id"]) == [(n, 1.0 / n) for n in range(1, 1000)]
            assert mlflow.MlflowClient(tracking_uri=uri).get_run(state["run_id"]).info.status == "FINISHED"
    assert "warning" not in capsys.readouterr().err
