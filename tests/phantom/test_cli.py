"""The command: settings from arguments, one-line refusals, the account on stdout."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from sentalign.phantom.cli import add_parser, settings_of
from sharding.contract import UserError


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["phantom", *arguments])


def test_defaults() -> None:
    settings = settings_of(parse("out", "--studies", "100", "--seed", "3"))
    assert (settings.test, settings.validate, settings.size, settings.withheld) == (15, 5, 256, "cavity")


def test_counts_and_withholding_can_be_chosen() -> None:
    options = ("--test-studies", "30", "--validation-studies", "0", "--withhold", "none")
    settings = settings_of(parse("out", "--studies", "100", "--seed", "3", *options))
    assert (settings.test, settings.validate, settings.withheld) == (30, 0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--studies", "0", "--seed", "1"), "--studies 0: choose 1 or more"),
        (("--studies", "5", "--seed", "1", "--test-studies", "6"), "raise --studies"),
        (("--studies", "5", "--seed", "-1"), "--seed -1"),
        (("--studies", "5", "--seed", "1", "--size", "8"), "64 to 4096"),
        (("--studies", "5", "--seed", "1", "--withhold", "mumps"), "consolidation"),
        (("--studies", "5", "--seed", "1", "--processes", "0"), "1 or more"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        settings_of(parse("out", *arguments))
    assert "\n" not in str(refused.value)


def test_json_prints_the_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "phantoms"
    args = parse(str(out), "--studies", "8", "--seed", "1", "--size", "64", "--test-studies", "4", "--json")
    assert args.command(args) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "phantom.json").read_text())
    assert printed["studies"]["test"] == 4


def test_without_json_two_lines_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = parse(str(tmp_path / "phantoms"), "--studies", "4", "--seed", "1", "--size", "64", "--processes", "2")
    assert args.command(args) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("4 studies in ")
    assert second.endswith(
        "of the validation split in MS_CXR_validate.json: train with validation.boxes=" + str(tmp_path / "phantoms")
    )
