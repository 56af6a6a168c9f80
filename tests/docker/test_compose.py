"""Images and services as far as they can be checked without an engine: names, ports, users, no secret in a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|ROOT_USER|STORE_URI")


@pytest.fixture
def services() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


def test_the_services_are_there_and_wait_for_each_other(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "minio", "buckets", "mlflow"}
    for service in services.values():
        for other, condition in service.get("depends_on", {}).items():
            assert condition["condition"] != "service_healthy" or "healthcheck" in services[other]


def test_every_port_is_on_the_loopback_interface(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    wanted = set()
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name):
                # `:?` makes compose stop where the value is missing, instead of starting with an empty password.
                assert re.search(r"\$\{\w+:\?[^}]+\}", value), name
                wanted |= set(re.findall(r"\$\{(\w+):\?", value))
    example = (DOCKER / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in example if line and not line.startswith("#"))
    assert set(given) == wanted
    assert not any(given.values())


def test_every_image_has_a_version(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values() if "image" in service]
    for file in DOCKER.glob("Dockerfile.*"):
        images += re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)
    assert len(images) == 6
    assert all(":" in image and not image.endswith(":latest") for image in images)


@pytest.mark.parametrize("name", ["Dockerfile.train", "Dockerfile.shard", "Dockerfile.mlflow"])
def test_no_image_runs_as_root(name: str) -> None:
    lines = (DOCKER / name).read_text().splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("USER root", "USER 0")


@pytest.mark.parametrize("name", ["Dockerfile.train", "Dockerfile.shard"])
def test_what_is_copied_is_let_through(name: str) -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (DOCKER / name).read_text(), re.MULTILINE)
    ignore = (DOCKER / f"{name}.dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    sources = {source for line in copied for source in line.split()}
    assert {"pyproject.toml", "constraints.txt", "sharding", "sentalign"} <= sources <= allowed
    assert ignore[1] == "*"


def test_services_build_from_files_that_exist(services: dict[str, Any]) -> None:
    built = [service["build"] for service in services.values() if "build" in service]
    assert [(DOCKER / build["context"] / build["dockerfile"]).is_file() for build in built] == [True]
