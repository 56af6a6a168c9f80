"""Licences: every direct dependency is listed, and nothing under the GPL is installed with it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COPYLEFT = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
DEFAULT = ("model", "track", "cluster", "train", "sweep")  # extras of users; `dev` is for those who change the code


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def named(lines):
    return {normal(Requirement(line).name) for line in lines} - {"sentalign"}


def installed_with(names):
    """The names and all that they require in turn, as far as it is installed."""
    waiting, found = set(names), set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            needs = [Requirement(line) for line in distribution(name).requires or []]
        except PackageNotFoundError:
            found.discard(name)  # of another platform
            continue
        waiting |= {normal(n.name) for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})} - found
    return found


def licence(name):
    """What a package says of its licence: the SPDX expression, or the first line and the classifiers."""
    about = distribution(name).metadata
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
    return " ".join([about.get("License-Expression") or (about.get("License") or "").split("\n")[0], *classifiers])


def test_every_direct_dependency_is_listed_with_its_licence():
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = {normal(row.split("|")[1].strip()) for row in page.splitlines() if row.count("|") == 4}
    extras = PROJECT["optional-dependencies"].values()
    assert named([*PROJECT["dependencies"], *(line for extra in extras for line in extra)]) <= rows


def test_nothing_under_the_gpl_is_installed():
    direct = named(
        [*PROJECT["dependencies"], *(line for extra in DEFAULT for line in PROJECT["optional-dependencies"][extra])]
    )
    packages = installed_with(direct)
    assert len(packages) > 60, "the walk over the dependencies found too little"
    assert not {name: licence(name) for name in packages if COPYLEFT.search(licence(name))}


def test_a_gpl_package_would_be_noticed():
    assert COPYLEFT.search("GNU General Public License v3 (GPLv3)")
    assert COPYLEFT.search("AGPL-3.0-only")
    assert not COPYLEFT.search("License :: OSI Approved :: BSD License")


def test_the_licence_is_stated():
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert set(PROJECT["license-files"]) == {"LICENSE", "NOTICE"}
