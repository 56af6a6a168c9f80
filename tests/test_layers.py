"""The import rules of the architecture, read off the source: imports follow the data, one gate a heavy dependency.

A module that is started by its name in a string counts as an import.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for folder in ("sharding", "sentalign", "launchers") for p in (ROOT / folder).rglob("*.py"))
MODULES = {p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for p in SOURCES}
MOST_FILES, MOST_LINES, MEDIAN_LINES = 12, 300, 130  # of a folder; of a file; of half of the files

# The parts that may import a heavy dependency.
GATES = {
    "deepspeed": ("sentalign/engine/", "sentalign/checkpoint/"),
    "mlflow": "sentalign/track/mlflow/",
    "ray": ("sentalign/sweep/search/", "sharding/ray_cluster.py"),
    "obstore": "sharding/store/bucket.py",
    "jinja2": "sharding/page_templates.py",
    "striprtf": "sharding/text/readable.py",
    "highdicom": "sentalign/localize/dicom_out/",
    "optuna": ("sentalign/sweep/page/importance.py", "sentalign/sweep/search/optuna_points.py"),
    "fastapi": "sentalign/serve/",
    "uvicorn": "sentalign/serve/",
    "starlette": "sentalign/serve/",
}
# What each room of sentalign may import of the others: upstream never imports downstream. The longest name counts.
MAY_IMPORT = {
    "config": set(),
    "dist": set(),
    "tokenizer": set(),
    "sides": set(),
    "word_recall": set(),
    "plot_axes": set(),
    "phantom": set(),
    "stream": {"config", "tokenizer", "sides", "stream"},
    "stream/order": set(),  # pure: numbers in, numbers out
    "stream/read": {"config", "stream/order"},
    "stream/preview": {"config", "stream/order", "stream/read"},
    "model": set(),
    "model/norm": {"dist", "model"},  # synchronised batch norm; loads and runs without a process group too
    "loss": {"dist"},
    "launch": {"config"},
    "health": set(),
    "checkpoint": {"dist", "health"},
    "engine": {"config", "dist", "word_recall", "stream", "model", "loss", "checkpoint", "launch", "health"},
    "track": {"config", "dist"},
    "track/mlflow": {"track", "localize"},  # names the loader of the trained model
    "track/samples": {"config", "stream", "localize"},  # heat maps and attribution offsets of a run
    "localize": {"config", "tokenizer", "sides", "model"},
    "evaluate": {"config", "tokenizer", "sides", "word_recall", "model", "localize"},
    "evaluate/retrieval": {"config", "stream", "localize", "evaluate"},  # reads shards
    "serve": {"phantom", "localize"},
    "sweep": {"config", "stream/read", "checkpoint", "launch", "track"},
    "sweep/live": {"sweep"},
    "sweep/page": {"sweep", "plot_axes"},
    "study": {"config", "launch", "track", "plot_axes"},  # starts the commands as processes
}
ROOTS = {"train", "cli", "__init__", "__main__"}  # the composition root and the command line join everything
FROM_SHARDING = {"contract", "command_line", "store", "pixels", "text", "manifest", "progress", "cli"}
FROM_SHARDING |= {"page_templates", "ray_cluster", "tables"}
PURE = {"__future__", "collections", "copy", "dataclasses", "functools", "hashlib", "json", "struct", "typing"}
PURE |= {"numpy", "sentalign", "sharding"}


def imports(path):
    """Dotted names that a file imports or starts by name, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and node.value in MODULES and "." in node.value:
            found.append(node.value)
    return found


def name(path):
    return path.relative_to(ROOT).as_posix()


def room(dotted):
    """`sentalign.stream.read.fetch.Shards` -> "stream/read": the longest name that has a rule."""
    parts = dotted.split(".")[1:]
    names = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((one for one in names if one in MAY_IMPORT), parts[0] if parts else "")


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
    own = room(name(path).removesuffix(".py").replace("/", "."))
    if own in ROOTS:
        return
    allowed = MAY_IMPORT[own] | {own, own.partition("/")[0] if own == "track/samples" else own}
    for module in imports(path):
        if module.startswith("sentalign."):
            there = room(module)
            assert there in allowed or there.partition("/")[0] in allowed, f"{name(path)} imports {module}"
        if module.startswith("sharding."):
            assert module.split(".")[1] in FROM_SHARDING, f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("sentalign/stream/order/")], ids=name)
def test_the_order_of_samples_is_pure(path):
    assert {module.split(".")[0] for module in imports(path)} <= PURE


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if name(p).startswith(("sentalign/model/", "sentalign/loss/"))], ids=name
)
def test_model_and_loss_import_torch_and_transformers_only(path):
    allowed = {"torch", "sentalign", "__future__", "collections", "dataclasses", "json", "pathlib", "shutil", "typing"}
    allowed |= {"contextlib", "functools", "math"}
    if name(path).startswith("sentalign/model/"):
        allowed |= {"transformers", "safetensors"}
    assert {module.split(".")[0] for module in imports(path)} <= allowed


def test_no_circle():
    """No two modules import each other, by whatever way round."""
    graph = {}
    for path in SOURCES:
        own = name(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        wanted = [m if m in MODULES else m.rpartition(".")[0] for m in imports(path)]
        graph[own] = {m for m in wanted if m in MODULES and m != own}
    done: set[str] = set()

    def visit(module, way):
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, [*way, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])


def test_no_folder_holds_more_than_a_reader_can_take_in():
    files = Counter(name(p.parent) for folder in ("sharding", "sentalign") for p in (ROOT / folder).rglob("*.py"))
    assert not {folder: count for folder, count in files.items() if count > MOST_FILES}


def test_files_are_short():
    lines = {name(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert not {file: count for file, count in lines.items() if count > MOST_LINES}
    assert sorted(lines.values())[len(lines) // 2] <= MEDIAN_LINES


def test_no_module_is_called_after_nothing():
    assert not {p.stem for p in SOURCES} & {"utils", "misc", "helpers", "common"}


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = [p.parent for folder in ("sharding", "sentalign") for p in (ROOT / folder).rglob("__init__.py")]
    assert sorted(listed) == sorted(name(p).replace("/", ".") for p in there)


def test_no_class_name_stands_twice():
    """One class name, one class: within sharding and sentalign together, private ones apart."""
    found = Counter(
        node.name
        for path in SOURCES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not re.match("_", node.name)
    )
    assert not [one for one, count in found.items() if count > 1]


def test_every_test_file_is_collected(request):
    """pytest leaves folders out by their names, and says nothing."""
    left_out = request.config.getini("norecursedirs")
    files = (p.relative_to(ROOT / "tests") for p in (ROOT / "tests").rglob("test_*.py"))
    folders = {part for file in files for part in file.parts[:-1]}
    assert not [one for one in folders if any(fnmatch(one, pattern) for pattern in left_out)]
