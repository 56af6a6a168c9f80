"""The radiologist's vocabulary, read from `wording.toml`: words for each kind of lesion, location and normal finding.

In: the tables of the file. Out: constants; `reports` chooses among them. The file says how wordings and slots are
written.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

_TABLES: dict[str, Any] = tomllib.loads((files(__package__) / "wording.toml").read_text(encoding="utf-8"))
Wordings = dict[str, list[tuple[str, str]]]  # by kind: (number, text)

CATEGORY_NAMES: dict[str, str] = _TABLES["category_names"]
NEGATED_NAMES: dict[str, str] = _TABLES["negated_names"]
KIND_STEMS: dict[str, list[str]] = _TABLES["kind_stems"]
SEEN_WORDINGS: Wordings = _TABLES["seen_wordings"]
WITHHELD_WORDINGS: Wordings = _TABLES["withheld_wordings"]
BILATERAL_WORDINGS: dict[str, tuple[str, str]] = _TABLES["bilateral_wordings"]
SEVERITIES: dict[str, list[str]] = _TABLES["severities"]
PLACES: dict[str, list[str]] = _TABLES["places"]
WHERES: dict[str, list[str]] = _TABLES["wheres"]
DEVICES: dict[str, list[str]] = _TABLES["devices"]
FRAMES: list[str] = _TABLES["frames"]
IMPRESSION_FRAMES: list[str] = _TABLES["impression_frames"]
NEGATIONS: list[str] = _TABLES["negations"]
HEART: list[str] = _TABLES["heart"]
BONES: list[str] = _TABLES["bones"]
CLEAR_LUNGS: list[str] = _TABLES["clear_lungs"]
REMAINDER: list[str] = _TABLES["remainder"]
NORMAL_IMPRESSIONS: list[str] = _TABLES["normal_impressions"]
COMPARISONS: list[str] = _TABLES["comparisons"]
CLOSINGS: list[str] = _TABLES["closings"]
INDICATIONS: list[str] = _TABLES["indications"]
TECHNIQUES: list[str] = _TABLES["techniques"]
ADDENDA: list[str] = _TABLES["addenda"]
