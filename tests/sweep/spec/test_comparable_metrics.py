"""Which metrics trials may be compared by; the old objective's failure stays refused."""

from __future__ import annotations

import re

import pytest

from sentalign import config
from sentalign.config.listing import settings as all_settings
from sentalign.loss import retrieval
from sentalign.sweep.spec import comparable_metrics
from sentalign.sweep.spec.comparable_metrics import BOXED, LABEL_FREE, default_objective, refusal, refuse_test_split
from sharding.contract import UserError

LOSSES = ("loss", "local_tv", "local_vt", "global_tv", "global_vt")
# As the issue found it: each multiplies, sharpens or trades the loss that the sweep minimised.
SCALING = (
    "loss.weight_local", "loss.weight_global", "loss.weight_swapped", "loss.tau", "loss.tau_contrast", "loss.t1",
    "loss.t2", "loss.t3", "loss.learn", "loss.bias_local", "loss.bias_global", "loss.targets", "loss.objective",
    "loss.sentence_twins", "loss.aggregate", "loss.attention", "loss.units", "loss.tag_weights.normal", "data.batch",
    "data.drop_tags",
)  # fmt: skip
FREE = ("optimizer.lr", "optimizer.weight_decay", "seed", "data.mirror", "model.width", "train.ema_pairs")


@pytest.mark.parametrize("setting", SCALING)
def test_the_loss_is_refused_where_a_setting_scales_it_and_the_defaults_are_not(setting):
    settings = [*FREE, setting]
    reason = refusal("validation/loss", settings)
    assert reason
    assert setting in reason
    assert "\n" not in reason
    for metric in (BOXED, "validation/pointing", "validation/cnr", "validation/side", LABEL_FREE):
        assert refusal(metric, settings) is None
    assert BOXED in reason
    assert LABEL_FREE in reason


def test_a_space_that_scales_nothing_leaves_all_metrics():
    metrics = [f"validation/{name}" for name in (*LOSSES, "recall", "side", "word_recall/edema", "attribution_length")]
    assert not [metric for metric in metrics if refusal(metric, FREE) or refusal(metric, [])]


def test_the_reason_is_one_line_with_a_way_out():
    assert refusal("validation/loss", ["optimizer.lr", "loss.weight_local"]) == (
        "loss.weight_local multiplies terms of validation/loss, so that trials would rank by that setting; "
        f"compare {BOXED} or {LABEL_FREE}"
    )
    assert refusal("loss", ["loss.t3"]) == (
        f"loss.t3 scales the logits of loss, so that trials would rank by that setting; compare {BOXED} or {LABEL_FREE}"
    )


@pytest.mark.parametrize(
    ("setting", "metric", "scaled"),
    [
        ("loss.tau", "validation/local_tv", True),
        ("loss.tau", "validation/global_tv", False),
        ("loss.bias_global", "validation/local_vt", False),
        ("loss.bias_global", "validation/global_vt", True),
        ("loss.weight_local", "validation/local_tv", True),  # more weight on a term lowers it
        ("data.batch", "validation/recall", True),
        ("data.batch", "validation/word_recall/nodule", True),
        ("data.batch", "validation/retrieval_recall", False),
        ("data.batch", "validation/side_preferred", False),
        ("loss.t3", "validation/recall", False),
        ("data.max_tokens", "validation/retrieval_recall", True),
        ("data.image_size", "validation/attribution_length", True),
        ("data.image_size", "validation/average_precision", False),
        ("data.validation_split", "validation/retrieval_recall", True),
        ("validation.map", "validation/average_precision", True),
        ("validation.cases", "validation/pointing", True),
        ("validation.cases", "validation/recall", False),
    ],
)
def test_which_setting_scales_which_metric(setting, metric, scaled):
    assert (refusal(metric, [setting]) is not None) is scaled


def test_every_pattern_names_a_setting_that_there_is():
    names = [setting.name for setting in all_settings()]
    for scaling in comparable_metrics.SCALINGS:
        assert any(re.fullmatch(scaling.settings, name) for name in names), scaling.settings


def test_every_number_of_the_loss_is_covered():
    """A weight, temperature or bias that is added to the loss must be added here too."""
    known = {s.name for s in all_settings() if s.name.startswith("loss.") and refusal("validation/loss", [s.name])}
    of_training_only = {"loss.rescale", "loss.window", "loss.view_share", "loss.view_after_pairs"}
    of_training_only |= {"loss.attraction_share"}
    assert {s.name for s in all_settings() if s.name.startswith("loss.")} - known == of_training_only


def checked(**sections):
    return config.check({"run": "runs/x", "data": {"shards": "none"} | sections.pop("data", {})} | sections)


def test_the_default_is_localization_where_there_are_boxes_and_retrieval_elsewhere():
    assert default_objective(checked(validation={"boxes": "phantoms"})) == ("validation/average_precision", "max")
    assert default_objective(checked()) == ("validation/retrieval_recall", "max")
    assert default_objective(checked(data={"batch": 8})) == ("validation/recall", "max"), "too few candidates"
    assert comparable_metrics.CANDIDATES == retrieval.CANDIDATES


@pytest.mark.parametrize("split", ["test", "Test"])
def test_the_test_split_is_refused(split):
    with pytest.raises(UserError, match="a sweep that chooses by the test split leaves nothing to test its choice on"):
        refuse_test_split(checked(data={"validation_split": split}))
