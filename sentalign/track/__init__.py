"""What a run records while it trains: journal (the source of truth), MLflow upload, console, sample pictures.

In: metrics, pictures and events of rank 0. Out: journal.jsonl, an MLflow run, a progress line. No training here.
Reading order: journal, run_logger, mlflow_uploader, console, pictures.
"""
