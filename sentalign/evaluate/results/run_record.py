"""The result of an evaluation, kept with the run that it measured: RUN/results/SET-DIGEST.json.

In: a run folder, the name of the set, the content of metrics.json, retrieval.json or classification.json. Out: a file
that `sentalign track sync` sends to MLflow (`track.mlflow.results`): {time, name, content}. The same result is the
same file.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from sharding.store import atomic

FOLDER, JOURNAL = "results", "journal.jsonl"


def write(run: Path, name: str, content: dict[str, Any]) -> None:
    """Writes the record; an exported model, which has no journal, gets none. A run that cannot be written is a warning:
    the result itself is in --out.
    """
    if not (run / JOURNAL).is_file():
        return
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "cases"
    file = run / FOLDER / f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    try:
        if not file.is_file():
            file.parent.mkdir(exist_ok=True)
            record = {"time": round(time.time(), 3), "name": name, "content": content}
            atomic.write_text(file, json.dumps(record, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        print(f"warning: {run} does not keep this result ({error.strerror}); MLflow will not have it", file=sys.stderr)
