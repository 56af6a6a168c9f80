"""The services of compose.yaml, without an engine: names, addresses, options and secrets fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|ROOT_USER|STORE_URI")


@pytest.fixture
def services() -> dict[str, Any]:
    return COMPOSE["services"]


def test_services_wait_for_conditions_that_can_come_true(services: dict[str, Any]) -> None:
    conditions = {
        (other, condition["condition"])
        for service in services.values()
        for other, condition in service.get("depends_on", {}).items()
    }
    assert conditions
    for other, condition in conditions:
        if condition == "service_healthy":
            assert "healthcheck" in services[other]
        else:
            assert condition == "service_completed_successfully"
            assert "restart" not in services[other], "a service that restarts never completes"


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


def test_every_service_has_an_image_of_a_version_or_a_dockerfile(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if "build" in service:
            assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file(), name
        else:
            assert re.fullmatch(r"[\w/.-]+:[\w.-]+", service["image"]), name
            assert not service["image"].endswith(":latest"), name


def test_volumes_are_declared(services: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_mlflow_accepts_its_command_and_variables(services: dict[str, Any]) -> None:
    cli, variables = pytest.importorskip("mlflow.cli"), pytest.importorskip("mlflow.environment_variables")
    program, command, *options = services["mlflow"]["command"]
    assert (program, command) == ("mlflow", "server")
    parsed = cli.server.make_context("server", options).params
    assert f"127.0.0.1:{parsed['port']}:{parsed['port']}" in services["mlflow"]["ports"]
    assert f":{parsed['port']}/" in services["mlflow"]["healthcheck"]["test"][-1]
    names = {parameter.envvar for parameter in cli.server.params} | set(dir(variables))
    assert {name for name in services["mlflow"]["environment"] if name.startswith("MLFLOW_")} <= names


def test_mlflow_finds_its_database_and_its_bucket(services: dict[str, Any]) -> None:
    environ, database = services["mlflow"]["environment"], services["postgres"]["environment"]
    address = urlsplit(re.sub(r"\$\{(\w+):\?[^}]+\}", r"\1", environ["MLFLOW_BACKEND_STORE_URI"]))
    assert (address.username, address.password) == (database["POSTGRES_USER"], "POSTGRES_PASSWORD")
    assert (address.path, address.port) == (f"/{database['POSTGRES_DB']}", 5432)
    store = urlsplit(environ["MLFLOW_S3_ENDPOINT_URL"])
    assert {address.hostname, store.hostname} <= services.keys()
    assert f"127.0.0.1:{store.port}:{store.port}" in services["minio"]["ports"]
    options = services["mlflow"]["command"]
    bucket = urlsplit(options[options.index("--artifacts-destination") + 1]).hostname
    [setup] = services["buckets"]["command"]
    assert store.geturl() in setup
    assert f"store/{bucket}" in re.search(r"mc mb --ignore-existing (.+)", setup)[1].split()


def test_server_and_client_are_of_one_version() -> None:
    [server] = re.findall(r'"mlflow==([\d.]+)"', (DOCKER / "Dockerfile.mlflow").read_text())
    assert f"mlflow=={server}" in (ROOT / "constraints.txt").read_text().splitlines()
