"""A Ray cluster, joined or started: the one place where ray is initialised.

In: an address. Out: the module ray, connected; `shutdown` of it leaves the cluster; the machines, and where a task
runs. What runs there is not here.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
import warnings
from typing import Any

from sharding.contract import UserError

# The path of a socket has at most 107 bytes, of which ray's own part takes more than 60: too much beside a TMPDIR that
# is the folder of a job. Then its sockets go where they go without TMPDIR.
LONGEST_TEMPORARY, RAY_FOLDER = 40, "/tmp/ray"


def join(address: str) -> Any:
    """Joins the cluster at `auto` or HOST:PORT. Raises UserError if ray is missing or no cluster answers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs ray; install it with pip install 'sentalign[cluster]'") from None
    try:
        _check_reachable(_found() if address == "auto" else address)
        return _init(ray, address=address)
    except Exception as error:  # ray raises nearly any type here
        cause = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"--ray {address}: no Ray cluster answers ({cause}); start one with `ray start --head`"
        ) from None


def start() -> Any:
    """Starts a cluster on the loopback interface, or joins the one at RAY_ADDRESS. Raises UserError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without a token anyone on the host could run code as this user through the cluster's port.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    own = not os.environ.get("RAY_ADDRESS")
    if own:
        # Ray replaces 127.0.0.1 by the host's address and listens everywhere, except with what this asks for on any
        # system: no cluster beyond this host.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise UserError("ray is not installed; install it with pip install 'sentalign[sweep]'") from None
    try:
        if not own:
            _check_reachable(os.environ["RAY_ADDRESS"])
        # "local": not a cluster that another process has started on this host.
        with warnings.catch_warnings(action="ignore"):
            settings = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"} if own else {}
            return _init(ray, **settings)
    except Exception as error:  # ray raises nearly any type here
        raise UserError(_start_error(error)) from None


def _start_error(error: Exception) -> str:
    """One line: what failed, and how to mend it."""
    address, text = os.environ.get("RAY_ADDRESS"), " ".join(str(error).split()) or type(error).__name__
    if re.search("auth(entication|orization)? ?_?token|InvalidAuthToken|Unauthenticated", text, re.IGNORECASE):
        return (
            "Ray asks for the token of its cluster: set RAY_AUTH_TOKEN_PATH to the file that `launchers/ray.sh head` "
            f"made, or RAY_AUTH_MODE as on the other machines ({text[:200]})"
        )
    if address:
        return f"RAY_ADDRESS={address}: no Ray cluster answers ({text[:200]}); start it with launchers/ray.sh head"
    if "AF_UNIX" in text or "socket path" in text.lower():
        return f"TMPDIR={tempfile.gettempdir()} is too long for Ray's sockets; set a shorter one ({text[:200]})"
    return f"Ray did not start ({text[:200]}); set TMPDIR to a writable folder with space, and see {RAY_FOLDER}"


def nodes_with_cpus() -> list[str]:
    """The machines that do work, by ray's ids."""
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0)]


def near(node: str) -> Any:
    """The option that makes a task run on this machine if it still lives, else on any."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=True)


def this_node() -> str:
    """The machine that a task runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def fetch(reference: Any) -> Any:
    """What another task has made, on whatever machine."""
    import ray

    return ray.get(reference)


def _init(ray: Any, **settings: Any) -> Any:
    """Initialises ray without the output of workers and without its own log lines."""
    if settings.get("address") == "local" and len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMPORARY:
        settings["_temp_dir"] = RAY_FOLDER
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    return ray


def _found() -> str:
    """The address that ray would take for `auto`: of a cluster that listens on loopback only, it takes another one."""
    from ray._private.services import canonicalize_bootstrap_address  # nothing public tells it

    return canonicalize_bootstrap_address("auto") or ""


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT: ray itself would wait for minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^\]]+?)\]?:(\d+)", address)
    if match:
        socket.create_connection((match.group(1), int(match.group(2))), timeout=10).close()
