"""The app on a socket, until Ctrl-C or SIGTERM; nothing of a request is logged.

In: an ASGI app, a bound socket. Out: nothing.
"""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

MOST_CONNECTIONS = 200


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serves until a signal; open requests have five seconds to end."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,  # names of pictures are random, but when somebody looked at one is nobody's business
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=5,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listener])
