"""The Dockerfiles, without an engine: the package is built from what COPY and .dockerignore let into the image."""

from __future__ import annotations

import argparse
import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from sharding import cli

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGES = ["Dockerfile.train", "Dockerfile.shard"]


def instructions(name: str) -> list[str]:
    """The lines of a Dockerfile, continued ones joined."""
    text = re.sub(r"^#.*\n", "", (DOCKER / name).read_text(), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", "").splitlines() if line.strip()]


def copied(name: str, folder: Path) -> Path:
    """The working folder of the image after its COPY instructions, in `folder`."""
    patterns = (DOCKER / f"{name}.dockerignore").read_text().splitlines()
    assert patterns[1] == "*", "everything that is not named is left out"
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    ignored = [pattern.removeprefix("**/") for pattern in patterns[2:] if not pattern.startswith("!")]
    for instruction in instructions(name):
        if instruction.startswith("COPY "):
            *sources, target = instruction.split()[1:]
            for source in sources:
                assert source in allowed, f"{source} is not in the build context"
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns(*ignored))
                else:
                    shutil.copy(ROOT / source, folder / target)
    return folder


@pytest.mark.parametrize("name", IMAGES)
def test_the_package_can_be_built_from_the_files_of_the_image(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    build = "import setuptools.build_meta as b; print('wheel', b.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    [wheel] = re.findall(r"^wheel (\S+)$", done.stdout, re.MULTILINE)
    files = zipfile.ZipFile(folder / wheel).namelist()
    packages = {package.replace(".", "/") for package in PROJECT["tool"]["setuptools"]["packages"]}
    assert packages == {file.removesuffix("/__init__.py") for file in files if file.endswith("/__init__.py")}
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            assert fnmatch.filter(files, f"{package.replace('.', '/')}/{pattern}"), (package, pattern)
    for license_file in PROJECT["project"]["license-files"]:
        assert fnmatch.filter(files, f"*.dist-info/licenses/{license_file}")


def test_the_training_image_installs_the_dependencies_of_training(tmp_path: Path) -> None:
    [run] = [line for line in instructions("Dockerfile.train") if "tomllib" in line]
    [code] = re.findall(r'python -c "(.+?)" >', run)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    needed = {re.split(r"[<>=\[; ]", line)[0] for line in done.stdout.splitlines()}
    assert {"torch", "transformers", "deepspeed", "mlflow", "ray", "pydicom"} <= needed
    assert "sentalign" not in needed


def test_the_command_in_the_training_image_finds_its_files(tmp_path: Path) -> None:
    [words] = re.findall(r"sentalign-train \\\n#\s+deepspeed (.+)", (DOCKER / "Dockerfile.train").read_text())
    folder = copied("Dockerfile.train", tmp_path)
    assert all((folder / word).is_file() for word in words.split() if "=" not in word)


def test_the_command_of_the_sharding_image_is_accepted() -> None:
    [entrypoint] = [line for line in instructions("Dockerfile.shard") if line.startswith("ENTRYPOINT")]
    assert entrypoint == 'ENTRYPOINT ["python", "-m", "sharding"]'
    [words] = re.findall(r"sentalign-shard (build .+)", (DOCKER / "Dockerfile.shard").read_text())
    parser = argparse.ArgumentParser()
    cli._add_commands(parser)
    args = parser.parse_args(shlex.split(words))
    assert (str(args.out), str(args.private)) == ("/out/shards", "/private")


@pytest.mark.parametrize("name", [*IMAGES, "Dockerfile.mlflow"])
def test_no_image_runs_as_root(name: str) -> None:
    users = [line.split()[1] for line in instructions(name) if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")


@pytest.mark.parametrize("name", [*IMAGES, "Dockerfile.mlflow"])
def test_every_base_image_has_a_version(name: str) -> None:
    bases = [line.split()[1] for line in instructions(name) if line.startswith("FROM ")]
    assert bases
    assert all(":" in base and not base.endswith(":latest") for base in bases)
