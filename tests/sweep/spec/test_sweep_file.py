"""The sweep file: settings are read, and mistakes are one line before anything starts."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sentalign import config
from sentalign.sweep.spec import sweep_file
from sharding.contract import UserError

Write = Callable[..., Path]


def test_a_sweep_is_read(sweep_path: Write, tmp_path: Path) -> None:
    sweep = sweep_file.load(sweep_path(overrides={"train.epochs": 2}))
    assert sweep.base == tmp_path / "base.yaml"
    assert sweep.space["optimizer.lr"].loguniform == (1e-3, 10.0)
    configured = sweep_file.configuration(sweep, {"optimizer.lr": 1e-5}, tmp_path / "trial")
    assert (configured.optimizer.lr, configured.train.epochs, configured.run) == (1e-5, 2, str(tmp_path / "trial"))


def test_words_name_the_sweep_its_space_or_the_training(sweep_path: Write) -> None:
    words = ["trials=2", "scheduler.max_pairs=32", "train.epochs=5", "optimizer.weight_decay=1e-4"]
    space = [
        "space.loss.tau.uniform=[0.1,0.2]",
        "space.optimizer.lr.choice=[1,2]",
        "constraints.validation/side='>= 1'",
    ]
    sweep = sweep_file.load(sweep_path(), words + space)
    assert (sweep.trials, sweep.scheduler.max_pairs) == (2, 32)
    assert (sweep.space["loss.tau"].uniform, sweep.space["optimizer.lr"].choice) == ((0.1, 0.2), [1, 2])
    assert sweep.space["optimizer.lr"].loguniform is None
    assert sweep.constraints == {"validation/side": ">= 1"}
    configured = sweep_file.configuration(sweep, {}, Path("x"))
    assert (configured.train.epochs, configured.optimizer.weight_decay) == (5, 1e-4)


def test_a_word_takes_a_setting_out_of_the_space(sweep_path: Write) -> None:
    sweep = sweep_file.load(sweep_path(), ["space.loss.tau={uniform: [0.1, 0.2]}", "space.optimizer.lr=null"])
    assert list(sweep.space) == ["loss.tau"]


@pytest.mark.parametrize("value", [1e-05, 3, True, None, "a: b", [1, "x"], 0.1])
def test_every_value_survives_its_word(sweep_path: Write, tmp_path: Path, value: Any) -> None:
    sweep = sweep_file.load(sweep_path(overrides={"model.image.backbone.extra": value}))
    configured = sweep_file.configuration(sweep, {}, tmp_path).model.image.backbone["extra"]
    # YAML 1.1 reads 1e-05 as a word; typed settings take it for the number.
    assert configured == value or float(configured) == value


def test_the_bases_own_values_come_first(sweep_path: Write) -> None:
    """Then the user's, whose settings that are not given are the base's; a condition that does not hold leaves out."""
    space = {
        "optimizer.lr": {"loguniform": [1e-3, 1]},
        "loss.attention": {"choice": ["paper", "cosine"]},
        "loss.tau": {"uniform": [0.05, 0.3], "when": {"loss.attention": "cosine"}},
    }
    points = [{"optimizer.lr": 0.5}, {"loss.attention": "cosine"}]
    sweep = sweep_file.load(sweep_path(space=space, points=points, overrides={"loss.tau": 0.2}))
    base, second, third = sweep_file.first_points(sweep)
    assert base == {"optimizer.lr": 1.0, "loss.attention": "paper"}
    assert second == {"optimizer.lr": 0.5, "loss.attention": "paper"}
    assert third == {"optimizer.lr": 1.0, "loss.attention": "cosine", "loss.tau": 0.2}


SPACE = {"optimizer.lr": {"uniform": [1, 2]}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": {}}, "space"),
        ({"space": {"loss.t9": {"uniform": [1, 2]}}}, "loss.t9"),
        ({"space": {"loss.t1": {"uniform": [-1, 2]}}}, "loss.t1"),
        ({"space": {"loss.t1": {"uniform": [2, 1]}}}, "lower and a larger bound"),
        ({"space": {"loss.t1": {"loguniform": [0, 1]}}}, "above 0"),
        ({"space": {"loss.t1": {"quniform": [1, 2, 5]}}}, "step of quniform"),
        ({"space": {"loss.t1": {"qrandint": [1, 2, 0]}}}, "step of qrandint"),
        (
            {"space": {"loss.tau": {"quniform": [0.05, 0.33, 0.1]}}},
            r"bounds of quniform must be multiples of its step, as in \[0.1, 0.3, 0.1\]",
        ),
        ({"space": {"data.block": {"qrandint": [100, 1000, 64]}}}, r"as in \[128, 960, 64\]"),
        ({"space": {"loss.tau": {"qloguniform": [0.05, 1.0, 0.1]}}}, r"as in \[0.1, 1, 0.1\]"),
        ({"space": {"loss.t1": {"uniform": [1, 2], "choice": [1]}}}, "exactly one of"),
        ({"space": {"loss.t1": {"when": {"loss.t2": 1}}}}, "exactly one of"),
        ({"space": {"loss.t1": {"normal": [1, 2]}}}, "normal"),
        ({"space": {"loss.t1": {"uniform": [1, 2], "when": {"loss.t2": 1}}}}, "loss.t2 is not in the space"),
        (
            {
                "space": {
                    "loss.t1": {"choice": [1], "when": {"loss.t2": 1}},
                    "loss.t2": {"choice": [1], "when": {"loss.t1": 1}},
                }
            },
            "circle",
        ),
        (
            {
                "space": {
                    "loss.attention": {"choice": ["paper", "cosine"]},
                    "loss.tau": {"uniform": [0.1, 0.2], "when": {"loss.attention": "cosin"}},
                }
            },
            "space.loss.tau.when never holds: loss.attention is cosin in no point, by the values of loss.attention",
        ),
        (
            {
                "space": {
                    "loss.tau": {"uniform": [0.1, 0.2]},
                    "loss.t1": {"uniform": [1, 2], "when": {"loss.tau": 0.15}},
                }
            },
            "space.loss.t1.when never holds: loss.tau is 0.15 in no point",
        ),
        (
            {
                "space": {
                    "loss.t3": {"choice": [5, 10]},
                    "loss.t2": {"choice": [1, 2], "when": {"loss.t3": 5}},
                    "loss.t1": {"choice": [1, 2], "when": {"loss.t3": 10, "loss.t2": 1}},
                }
            },
            "space.loss.t1.when never holds: loss.t2 is 1 and loss.t3 is 10 in no point, by the values of loss.t3",
        ),
        (
            {"scheduler": {"kind": "hyperband", "grace_pairs": 8}},
            "grace_pairs is read by asha and median, not",
        ),
        (
            {"scheduler": {"kind": "median", "reduction_factor": 2}},
            "reduction_factor is read by asha and hyper",
        ),
        ({"scheduler": {"kind": "pbt", "reduction_factor": 2}}, "not by kind pbt"),
        ({"scheduler": {"perturb_every_pairs": 8}}, "scheduler.perturb_every_pairs is read by pbt, not by kind asha"),
        (
            {"metrics": {"validation/recall": "max", "validation/side": "max"}, "scheduler": {"grace_pairs": 8}},
            "not by kind none",
        ),
        ({"space": {"train.zero_stage": {"choice": [1, 7]}}}, "train.zero_stage"),
        ({"space": SPACE, "points": [{"loss.tau": 1}]}, "loss.tau is not in the space"),
        ({"space": SPACE, "points": [{"optimizer.lr": -1}]}, "optimizer.lr"),
        ({"scheduler": {"grace_pairs": 9, "max_pairs": 8}}, "grace_pairs 9 is more than"),
        ({"searcher": "optuna", "space": {"optimizer.lr": {"grid": [1, 2]}}}, "a grid needs searcher: random"),
        ({"searcher": "optuna", "scheduler": {"kind": "pbt"}}, "needs searcher: random"),
        ({"metric": "validation/recall", "metrics": {"validation/recall": "max"}}, "not both"),
        ({"asha": {"grace_pairs": 8}}, "now called scheduler"),
        ({"gpus": 2}, "gpus 2 must be 0 or equal ranks 1"),
        ({"trails": 3}, "trails"),
        ({"base": "nowhere.yaml"}, "no config file"),
    ],
)
def test_mistakes_are_one_line(sweep_path: Write, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        sweep_file.load(sweep_path(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "word", ["trials", "=3", "trials=[", "train.epoch=3", "space.loss.t9.uniform=[1,2]", "space=3"]
)
def test_wrong_overrides_are_refused(sweep_path: Write, word: str) -> None:
    with pytest.raises(UserError):
        sweep_file.load(sweep_path(), [word])


NAMES = st.sampled_from(
    ["trials", "space", "space.loss.tau", "space.loss.tau.uniform", "space.loss.tau.when", "metrics.a"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(string.printable, max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_letters, max_size=3), inner),
    max_leaves=5,
)


@given(words=st.lists(st.tuples(NAMES, VALUES), max_size=3))
def test_whatever_is_overridden_is_a_sweep_or_one_line(tmp_path_factory, words) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "base.yaml").write_text("{run: run, data: {shards: shards}}")
    (folder / "sweep.yaml").write_text("{base: base.yaml, out: out, space: {optimizer.lr: {choice: [1, 2]}}}")
    texts = [f"{name}={yaml.safe_dump(value, default_flow_style=True)}" for name, value in words]
    try:
        assert sweep_file.load(folder / "sweep.yaml", texts).space
    except UserError as error:
        message = str(error)
        assert "\n" not in message


def test_a_missing_sweep_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sweep file"):
        sweep_file.load(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(UserError, match="holds no settings"):
        sweep_file.load(tmp_path / "empty.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not valid YAML"):
        sweep_file.load(tmp_path / "binary.yaml")


def test_the_shipped_sweep_is_valid() -> None:
    configs = Path(__file__).resolve().parents[3] / "configs"
    sweep = sweep_file.load(configs / "sweep.yaml", ["out=/tmp/never"])
    assert isinstance(sweep_file.configuration(sweep, {}, sweep.out), config.Config)
