"""Brings one MLflow run up to date with one run folder.

In: a folder, a connection, the MLflow run to nest in. Out: an MLflow run; mlflow_upload.json. What an entry becomes is
in `entries`.
"""

from __future__ import annotations

import time
from pathlib import Path

from sentalign.track import journal
from sentalign.track.mlflow import entries, model, results, run_folder, system_metrics, upload_state
from sentalign.track.mlflow.connection import Connection, public

LINES_PER_ROUND = 400


class RunSender:
    """Sends one folder, again and again; not thread-safe."""

    def __init__(
        self, run: Path, connection: Connection, parent: str | None, *, live: bool = False, over: bool = False
    ) -> None:
        """`live`: the training itself sends, so that only the journal tells its end. `over`: it cannot run any more."""
        self._run, self._connection, self._parent = run, connection, parent
        self._live, self._over, self._uri = live, over, public(connection.uri)
        self._found = False
        self._ended: run_folder.Ending | None = None
        self._state = upload_state.UploadState()
        self.complete, self.last_error = False, ""

    def send(self) -> str:
        """One round: all that is new in the folder; the MLflow run id, empty where there is nothing yet. Raises
        whatever MLflow raises, and BlockingIOError where another process sends this run.
        """
        self.complete = False
        if self._live and not self._lines(0):
            _ = self._connection.client  # connects meanwhile: a new SQLite store takes seconds
            return ""
        with upload_state.only_sender(self._run):
            self._state = upload_state.read(self._run, self._uri)
            self._find_run()
            self._send_journal()
            self._send_files()
            if not self._live:
                self._send_end()
        self.complete, self.last_error = True, ""
        return self._state.run_id

    def _find_run(self) -> None:
        """The MLflow run of the folder, made where the store has none; nested as `track sync` nested it."""
        client, state = self._connection.client, self._state
        if not (state.run_id and (self._found or self._connection.exists(state.run_id))):
            self._state = state = upload_state.UploadState(experiment=self._connection.experiment, parent=state.parent)
            self._create()
        if not self._live:
            state.parent = self._parent or state.parent
        parent = state.parent or self._parent
        if parent and not self._found:
            client.set_tag(state.run_id, "mlflow.parentRunId", parent)
        self._found = True
        self._store()

    def _create(self) -> None:
        first = run_folder.entries(self._run)
        start = next((entry for entry in first if entry["kind"] == "start"), first[0])
        made = self._connection.client.create_run(
            self._connection.experiment_id,
            start_time=round(first[0]["time"] * 1000),
            run_name=run_folder.name_of(self._run),
            tags=entries.creation_tags(start),
        )
        self._state.run_id = made.info.run_id
        if not (self._run / journal.JOURNAL_NAME).is_file():
            entries.send(self._connection.client, self._state.run_id, self._run, first)

    def _lines(self, offset: int) -> list[tuple[journal.Entry, int]]:
        return list(journal.follow(self._run, offset))

    def _send_journal(self) -> None:
        lines = self._lines(self._state.offset)
        # A replay from the start skips what a resumed training repeated; a growing journal is sent as it comes.
        wanted = {id(entry) for entry in journal.latest([entry for entry, _ in lines])}
        for first in range(0, len(lines), LINES_PER_ROUND):
            part = lines[first : first + LINES_PER_ROUND]
            chosen = [entry for entry, _ in part if id(entry) in wanted]
            entries.send(self._connection.client, self._state.run_id, self._run, chosen)
            self._state.offset = part[-1][1]
            self._store()

    def _send_files(self) -> None:
        """What lies beside the journal: system metrics of all hosts, results of evaluations, the finished model."""
        client, state = self._connection.client, self._state
        system_metrics.send(client, state, self._run)
        results.send(client, state, self._run)
        self._store()
        if model.is_due(self._run):
            model.send(client, state, self._run, self._connection.experiment_id)
            self._store()

    def _send_end(self) -> None:
        """The end that a killed training could not write, and the settings of a trial."""
        client, run_id = self._connection.client, self._state.run_id
        trial = run_folder.read_trial(self._run)
        if trial:
            entries.log_params(client, run_id, trial.get("parameters", {}), client.get_run(run_id).data.params)
            entries.set_tags(client, run_id, {"trial": str(trial.get("trial", self._run.name))})
        ended = run_folder.ending(self._run, time.time(), self._over)
        if ended and ended != self._ended:
            entries.end(client, run_id, ended.status, ended.time, ended.error)
            self._ended = ended

    def _store(self) -> None:
        upload_state.write(self._run, self._uri, self._state)
