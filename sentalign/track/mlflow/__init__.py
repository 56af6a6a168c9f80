"""Journals and results of runs → MLflow; the only importer of mlflow.

In: folders of runs and sweeps. Out: MLflow runs. Reading order: connection, sender, entries, tree. The rest of the
program calls `track.mlflow_uploader`.
"""
