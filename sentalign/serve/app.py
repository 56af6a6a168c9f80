"""The app: what every request passes, and the state that requests share. The routes are in `routes`.

In: a predictor, who may ask. Out: an ASGI app. Whatever fails is answered by one line of JSON and logged by its type
alone: texts of errors may quote what a file holds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from sentalign.localize.predict import Predictor
from sentalign.serve import routes
from sentalign.serve.access import HEADERS, Access
from sentalign.serve.decoders import Decoders
from sentalign.serve.finder import Finder
from sentalign.serve.open_pictures import OpenPictures
from sentalign.serve.refused import RefusedError

STATIC = Path(__file__).with_name("static")
SWEEP_SECONDS = 30.0  # from one look for unused pictures to the next


def create(predictor: Predictor, access: Access, most_bytes: int) -> FastAPI:
    """The app; its pictures, its processes and its thread live while it runs."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        state = routes.State(OpenPictures(), Finder(predictor), Decoders(), most_bytes)
        app.state.shared = state
        sweeper = asyncio.create_task(_sweep(state.opened))
        yield
        sweeper.cancel()
        state.decoders.close()
        state.finder.close()

    app = FastAPI(lifespan=running, docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app)

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = access.refusal(request)
        response = await _answered(request, answer) if refusal is None else _error(*refusal)
        response.headers.update(HEADERS)
        return response

    app.include_router(routes.router)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


async def _sweep(opened: OpenPictures) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        opened.forget_unused()


async def _answered(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        return await answer(request)
    except ClientDisconnect:
        return _error(400, "the upload was cut off")  # nobody reads it
    except Exception as error:  # of nearly any type, with texts that may quote values of a header
        print(f"error: a request failed ({type(error).__name__})", file=sys.stderr, flush=True)
        return _error(500, f"the server failed ({type(error).__name__})")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _add_errors(app: FastAPI) -> None:
    """Every refusal is one line of JSON, which quotes nothing of what was sent."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return _error(error.status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _error(422, "the request is not of the form that the page sends (a sentence has at most 500 letters)")

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, "nothing here" if error.status_code == 404 else "no such request")
