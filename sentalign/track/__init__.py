"""What a run leaves behind while it trains: journal (the truth), uplink (MLflow, in the background), console.

In: metrics, pictures and events of rank 0. Out: journal.jsonl, an MLflow run, a progress line. No training here.
"""
