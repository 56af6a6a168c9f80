"""Differences of two results: paired by case, drawn by patient, on what both have."""

from __future__ import annotations

import argparse
import json
import re

import numpy as np
import pytest

from sentalign.evaluate import cli
from sentalign.evaluate.results import compare
from sentalign.evaluate.scoring.protocols import METRICS
from sharding.contract import UserError

N = 30


def result(folder, seed, order=None, **changes):
    """A result of 30 cases of 10 patients and 3 categories; the last 6 are of a withheld one."""
    rng, order = np.random.default_rng(seed), np.arange(N) if order is None else np.asarray(order)
    values = rng.uniform(size=(2, len(METRICS), N))
    values[:, METRICS.index("cnr"), 3] = np.nan  # has no box in the scored centre
    arrays = {
        "image_id": np.array([f"i{n // 2}" for n in range(N)])[order],
        "phrase": np.array([f"phrase {n}" for n in range(N)])[order],
        "category": np.array(["abd"[n * 3 // 24] if n < 24 else "c" for n in range(N)])[order],
        "patient": np.array([f"p{n // 3}" for n in range(N)])[order],
        "seen": (np.arange(N) < 24)[order],
        "boxes_xywh": np.arange(4.0 * N).reshape(N, 4)[order] + 1,
        "boxes_case": np.arange(len(order)),
        "mask_case": np.array([0, 1]),
        "mask_start": np.array([0, 3]),
        "mask_bits": np.arange(8, dtype=np.uint8),
        "kinds": np.array(["model", "plain_map"]),
        "metrics": np.array(METRICS),
        "values": values[:, :, order],
    }
    folder.mkdir()
    np.savez(folder / compare.FILE, **(arrays | changes))
    return values


def test_differences_are_means_over_cases_or_over_categories(tmp_path):
    first, second = (result(tmp_path / name, seed) for seed, name in enumerate("ab"))
    compared = compare.compare(tmp_path / "a", tmp_path / "b")
    assert (compared["cases"], compared["only"]) == (N, [0, 0])
    for number, name in enumerate(METRICS):
        change = (second - first)[0, number]
        entry = compared["seen"][name]
        if name in ("pointing", "average_precision", "iou"):
            assert entry["difference"] == pytest.approx(change[:24].mean())
            assert entry["first"] == pytest.approx(first[0, number, :24].mean())
        else:
            thirds = [np.nanmean(change[n : n + 8]) for n in (0, 8, 16)]
            assert entry["difference"] == pytest.approx(np.mean(thirds))
        assert entry["second"] - entry["first"] == pytest.approx(entry["difference"])
        assert entry["cases"] == 24 - (name == "cnr")
        low, high = entry["ci"]
        assert low < entry["difference"] < high
        assert compared["withheld"][name]["difference"] == pytest.approx(change[24:].mean())


def test_an_interval_is_that_of_drawn_patients(tmp_path):
    first, second = (result(tmp_path / name, seed) for seed, name in enumerate("ab"))
    entry = compare.compare(tmp_path / "a", tmp_path / "b", replicates=4000)["seen"]["iou"]
    change = (second - first)[0, METRICS.index("iou"), :24].reshape(8, 3)  # 8 patients of 3 cases
    rng = np.random.default_rng(9)
    means = [change[rng.integers(0, 8, 8)].mean() for _ in range(4000)]
    assert entry["ci"] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.02)


def test_the_order_of_cases_does_not_matter_and_only_shared_cases_count(tmp_path):
    second = result(tmp_path / "b", 1)
    masks = {"mask_case": np.zeros(0, int), "mask_start": np.zeros(0, int)}
    result(tmp_path / "plain", 1, **masks)
    again = result(tmp_path / "c", 1, order=[*range(N - 1, 5, -1), 2, 1], **masks)
    assert np.array_equal(second, again, equal_nan=True)
    compared = compare.compare(tmp_path / "plain", tmp_path / "c")
    assert (compared["cases"], compared["only"]) == (26, [4, 0])
    assert {entry["difference"] for entry in compared["seen"].values()} == {0.0}
    assert {tuple(entry["ci"]) for entry in compared["seen"].values()} == {(0.0, 0.0)}
    assert compare.compare(tmp_path / "c", tmp_path / "plain")["only"] == [0, 4]


def test_another_map_is_compared_by_its_name(tmp_path):
    first, second = (result(tmp_path / name, seed) for seed, name in enumerate("ab"))
    entry = compare.compare(tmp_path / "a", tmp_path / "b", "plain_map")["seen"]["pointing"]
    assert entry["difference"] == pytest.approx((second - first)[1, 0, :24].mean())
    with pytest.raises(UserError, match="has no map 'other'; it has model, plain_map"):
        compare.compare(tmp_path / "a", tmp_path / "b", "other")


def test_results_of_other_cases_or_boxes_are_refused(tmp_path):
    result(tmp_path / "a", 0)
    result(tmp_path / "b", 0, phrase=np.array([f"other {n}" for n in range(N)]))
    result(tmp_path / "c", 0, boxes_xywh=np.ones((N, 4)))
    with pytest.raises(UserError, match="have no image and phrase in common"):
        compare.compare(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError, match="the boxes or masks of 30 of 30 cases differ"):
        compare.compare(tmp_path / "a", tmp_path / "c")
    result(tmp_path / "e", 0, mask_bits=np.uint8([0, 1, 2, 3, 4, 9, 6, 7]))
    with pytest.raises(UserError, match="the boxes or masks of 1 of 30 cases differ"):
        compare.compare(tmp_path / "a", tmp_path / "e")
    result(tmp_path / "f", 0)
    with np.load(tmp_path / "f" / compare.FILE) as stored:
        older = {name: stored[name] for name in stored.files if name != "mask_bits"}
    np.savez(tmp_path / "f" / compare.FILE, **older)
    with pytest.raises(UserError, match="is of an older version, without mask_bits; evaluate again"):
        compare.compare(tmp_path / "a", tmp_path / "f")
    with pytest.raises(UserError, match=re.escape(f"no readable cases.npz in {tmp_path / 'd'}")):
        compare.compare(tmp_path / "a", tmp_path / "d")
    (tmp_path / "c" / compare.FILE).write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"no readable cases\.npz"):
        compare.compare(tmp_path / "c", tmp_path / "a")


def test_the_command_prints_a_table_or_json(tmp_path, capsys):
    for seed, name in enumerate(("first", "second")):
        result(tmp_path / name, seed)
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    words = ["compare", str(tmp_path / "first"), str(tmp_path / "second"), "--replicates", "50"]
    for more in ([], ["--json"]):
        args = parser.parse_args([*words, *more])
        args.command(args)
    shown, _, content = capsys.readouterr().out.partition("{")
    assert "30 cases of both" in shown
    assert "average_precision" in shown
    assert json.loads("{" + content)["seen"]["pointing"]["cases"] == 24
