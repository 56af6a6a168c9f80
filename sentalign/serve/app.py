"""The app and its server: routes, the page's files, and what requests share. Who may ask: `guard`.

In: a predictor, who may ask, a bound socket. Out: an HTTP server until a signal. Every refusal is one line of JSON,
which quotes nothing of what was sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from sentalign.localize.predict import Predictor
from sentalign.serve import routes
from sentalign.serve.access import Access, RefusedError
from sentalign.serve.decoders import Decoders
from sentalign.serve.finder import Finder
from sentalign.serve.guard import Guard
from sentalign.serve.open_pictures import OpenPictures

STATIC = Path(__file__).with_name("static")
SWEEP_SECONDS = 30.0  # from one look for unused pictures to the next
MOST_CONNECTIONS = 200


def create(predictor: Predictor, access: Access, most_bytes: int) -> ASGIApp:
    """The app; its pictures, its processes and its threads live while it runs."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        state = routes.State(OpenPictures(), Finder(predictor), Decoders(), most_bytes)
        app.state.shared = state
        sweeper = asyncio.create_task(_sweep(state.opened))
        yield
        sweeper.cancel()
        state.decoders.close()
        state.finder.close()
        state.segmenter.close()

    app = FastAPI(lifespan=running, docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app)
    app.include_router(routes.router)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return Guard(app, access, most_bytes)


def run(app: ASGIApp, listener: socket.socket) -> None:
    """Serves until a signal; open requests have five seconds to end. Nothing of a request is logged."""
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,  # names of pictures are random, but when somebody looked at one is nobody's business
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=5,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listener])


async def _sweep(opened: OpenPictures) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        opened.forget_unused()


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return _error(error.status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _error(422, f"the request is not one that the page sends ({routes.FORM})")

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, RefusedError):  # of a body that FastAPI was reading
            return _error(error.__cause__.status, str(error.__cause__))
        return _error(error.status_code, "nothing here" if error.status_code == 404 else "no such request")
