"""The import rules of the architecture, read off the source: imports follow the data, one gate a heavy dependency."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for folder in ("sharding", "sentalign", "launchers") for p in (ROOT / folder).rglob("*.py"))

# The parts that may import a heavy dependency.
GATES = {
    "deepspeed": "sentalign/engine/",
    "mlflow": "sentalign/track/uplink.py",
    "ray": ("sentalign/sweep/", "sharding/cluster.py"),
    "obstore": "sharding/buckets.py",
    "highdicom": "sentalign/localize/dicom_out.py",
    "gradio": "sentalign/localize/demo.py",
}
# What each part of sentalign may import of sentalign: upstream never imports downstream.
MAY_IMPORT = {
    "config": set(),
    "dist": set(),
    "text": set(),
    "phantom": set(),
    "stream": {"config", "text"},
    "model": set(),
    "model/norm": {"dist"},  # synchronised batch norm; loads and runs without a process group too
    "loss": {"dist"},
    "engine": {"config", "dist", "stream", "model", "loss"},
    "track": {"config"},
    "localize": {"config", "text", "model"},
    "evaluate": {"config", "text", "model", "localize"},
    "sweep": {"config", "engine", "track"},
}
ROOTS = {"train", "cli", "__init__"}  # the composition root and the command line join everything
FROM_SHARDING = {"contract", "storage", "pixels", "reports", "sentences", "manifest", "cli"}


def imports(path):
    """Dotted names that a file imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_heavy_dependencies_have_one_gate(path):
    for module in imports(path):
        gate = GATES.get(module.split(".")[0])
        assert gate is None or name(path).startswith(gate), f"{name(path)} imports {module}; only {gate} may"


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("sharding/")], ids=name)
def test_sharding_imports_nothing_of_training(path):
    roots = {module.split(".")[0] for module in imports(path)}
    assert not roots & {"sentalign", "torch", "transformers", "deepspeed", "mlflow"}


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("sentalign/")], ids=name)
def test_imports_follow_the_data(path):
    part = path.relative_to(ROOT / "sentalign").parts[0].removesuffix(".py")
    if part in ROOTS:
        return
    allowed = MAY_IMPORT[part] | MAY_IMPORT.get(name(path).removeprefix("sentalign/").removesuffix(".py"), set())
    for module in imports(path):
        package, _, rest = module.partition(".")
        inner = rest.split(".")[0]
        if package == "sentalign":
            assert inner == part or inner in allowed, f"{name(path)} imports {module}"
        if package == "sharding":
            assert inner in FROM_SHARDING, f"{name(path)} imports {module}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if name(p).startswith(("sentalign/model/", "sentalign/loss/"))], ids=name
)
def test_model_and_loss_import_torch_and_transformers_only(path):
    allowed = {"torch", "sentalign", "__future__", "collections", "dataclasses", "json", "pathlib", "shutil", "typing"}
    allowed |= {"contextlib", "functools", "math"}
    if name(path).startswith("sentalign/model/"):
        allowed |= {"transformers", "safetensors"}
    assert {module.split(".")[0] for module in imports(path)} <= allowed


def test_no_module_is_called_after_nothing():
    assert not {p.stem for p in SOURCES} & {"utils", "misc", "helpers", "common"}


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = [p.parent for folder in ("sharding", "sentalign") for p in (ROOT / folder).rglob("__init__.py")]
    assert sorted(listed) == sorted(name(p).replace("/", ".") for p in there)
