"""What trials may be compared by: which metrics a setting of the search space scales, and the metric by default.

In: dotted settings of a search space, a training's configuration. Out: metric names, modes and reasons. Pure functions;
Ray is not needed here. A sweep by a scaled metric ranks its trials by the setting, not by what they learned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from sentalign.config import Config
from sharding.contract import UserError

BOXED, LABEL_FREE, IN_BATCH = "validation/average_precision", "validation/retrieval_recall", "validation/recall"
CANDIDATES = 16  # of LABEL_FREE: a smaller batch has none
LOCAL, GLOBAL = ("local_tv", "local_vt"), ("global_tv", "global_vt")
LOSSES = ("loss", *LOCAL, *GLOBAL)
RECALLS = ("recall", "recall_lowest", "word_recall/.+")
RETRIEVAL = ("retrieval_recall", "text_to_image_recall", "image_to_text_recall")
MARGINS = ("side_margin", "side_preferred")
OFFSETS = ("attribution_dx", "attribution_dy", "attribution_length")
BOXES = ("pointing", "average_precision", "side", "cnr")
NAMES = (*LOSSES, *RECALLS, *RETRIEVAL, *MARGINS, *OFFSETS, *BOXES, "cases")  # of all that a validation writes
SIGNED = "has a sign, and is best at 0; compare validation/attribution_length"
UNORDERED = {"attribution_dx": SIGNED, "attribution_dy": SIGNED, "cases": "counts what was measured, not how well"}


@dataclass(frozen=True)
class _Scaling:
    """Settings (a pattern) that scale metrics, and how, with {setting} and {metric} in the words."""

    settings: str
    metrics: tuple[str, ...]
    how: str


SCALINGS = (
    _Scaling(r"loss\.weight_(local|global)", ("loss",), "{setting} multiplies terms of {metric}"),
    _Scaling(r"loss\.weight_.+", LOSSES, "{setting} trades {metric} against other terms"),
    _Scaling(r"loss\.(t3|learn)", LOSSES, "{setting} scales the logits of {metric}"),
    _Scaling(r"loss\.(t1|t2|tau|tau_contrast|bias_local)", ("loss", *LOCAL), "{setting} scales the scores of {metric}"),
    _Scaling(r"loss\.bias_global", ("loss", *GLOBAL), "{setting} shifts the logits of {metric}"),
    _Scaling(r"loss\.(objective|targets)", LOSSES, "{metric} is another function for each {setting}"),
    _Scaling(
        r"loss\.(attention|units|aggregate|sentence_twins|tag_weights)(\..+)?",
        ("loss", *LOCAL),
        "{metric} is another function for each {setting}",
    ),
    _Scaling(r"data\.(drop_tags|max_tokens|context)", LOSSES, "{metric} is of other texts for each {setting}"),
    _Scaling(r"data\.batch", LOSSES, "{metric} grows with the negatives of a larger {setting}"),
    _Scaling(r"data\.batch", RECALLS, "{metric} counts among the images of a batch, and so depends on {setting}"),
    _Scaling(
        r"data\.(shards|validation_split)(\..+)?",
        (*LOSSES, *RECALLS, *RETRIEVAL, *MARGINS, *OFFSETS),
        "{metric} is measured on other samples for each {setting}",
    ),
    # Not data.drop_tags: these are of sentences without tags, which stay.
    _Scaling(r"data\.max_tokens", (*RECALLS, *RETRIEVAL, *MARGINS), "{metric} is of other texts for each {setting}"),
    _Scaling(r"data\.(image_size|long_side)", OFFSETS, "{metric} is in pixels of the input, whose size is {setting}"),
    _Scaling(r"validation\..+", (*BOXES, "cases"), "{metric} is measured on other cases or maps for each {setting}"),
)


def refusal(metric: str, settings: Iterable[str]) -> str | None:
    """Why trials that differ in these settings cannot be compared by the metric, and by what they can; None: they can.

    `metric` may be that of a validation or, of the same name without `validation/`, that of training steps.
    """
    settings = sorted(settings)
    how = _how(metric, settings)
    if how is None:
        return None
    others = [name for name in (BOXED, LABEL_FREE) if name != metric and _how(name, settings) is None]
    advice = f"; compare {' or '.join(others)}" if others else ""
    return f"{how}, so that trials would rank by that setting{advice}"


def absence(metric: str, config: Config) -> str | None:
    """Why no validation of such a training writes the metric; None: it does, where the data have what it counts."""
    name = metric.removeprefix("validation/")
    if name == metric or not any(re.fullmatch(known, name) for known in NAMES):
        names = [known for known in NAMES if not known.endswith("+")]
        close = get_close_matches(name, names, 1)
        return "no validation writes it; " + (
            f"did you mean validation/{close[0]}?" if close else f"those are, with validation/: {', '.join(names)}"
        )
    if name in (*BOXES, "cases") and not config.validation.boxes:
        return "it is measured with boxes, and validation.boxes names none"
    if name in RETRIEVAL and config.data.batch < CANDIDATES:
        return f"it needs {CANDIDATES} candidates, and data.batch is {config.data.batch}"
    return None


def _how(metric: str, settings: Iterable[str]) -> str | None:
    name = metric.removeprefix("validation/")
    for setting in settings:
        for scaling in SCALINGS:
            if re.fullmatch(scaling.settings, setting) and any(re.fullmatch(one, name) for one in scaling.metrics):
                return scaling.how.format(setting=setting, metric=metric)
    return None


def default_objective(config: Config) -> tuple[str, Literal["max"]]:
    """(metric, mode): localization where boxes are configured, else retrieval recall, which no setting scales."""
    if config.validation.boxes:
        return BOXED, "max"
    return (LABEL_FREE if config.data.batch >= CANDIDATES else IN_BATCH), "max"


def refuse_test_split(config: Config) -> None:
    """Raises UserError: what a sweep chooses by the test split cannot be evaluated on it."""
    if config.data.validation_split.casefold() == "test":
        raise UserError(
            "data.validation_split=test: a sweep that chooses by the test split leaves nothing to test its choice on; "
            "set data.validation_split=validate"
        )
