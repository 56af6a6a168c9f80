"""What every request passes: who may ask, how long and how slow its body may be; and one line for whatever fails.

In: an ASGI app. Out: an ASGI app. Bodies are counted as they come, so that none fills the memory. What fails is logged
by its type alone: texts of errors may quote what a file holds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentalign.serve.access import Access, RefusedError

UPLOADS = "/api/pictures"
UPLOAD_SECONDS, REQUEST_SECONDS = 120.0, 10.0
REQUEST_BYTES = 2**18  # of all bodies but uploads: a few sentences
# The page's own files alone: no script, style, font or picture of elsewhere, and no other page around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Around the whole app, also around what it does with errors."""

    def __init__(self, app: ASGIApp, access: Access, most_bytes: int) -> None:
        self._app, self._access, self._most_bytes = app, access, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer, headers = Answer(send), Headers(scope=scope)
        try:
            self._access.check(scope["path"], headers)
            body = BoundedBody(receive, headers, *self._bounds(scope["path"]))
            await self._app(scope, body.receive, answer.send)
        except RefusedError as error:
            await answer.refuse(error.status, str(error))
        except ClientDisconnect:
            pass  # nobody reads an answer
        except Exception as error:  # of nearly any type
            print(f"error: a request failed ({type(error).__name__})", file=sys.stderr, flush=True)
            await answer.refuse(500, f"the server failed ({type(error).__name__})")

    def _bounds(self, path: str) -> tuple[int, float]:
        return (self._most_bytes, UPLOAD_SECONDS) if path == UPLOADS else (REQUEST_BYTES, REQUEST_SECONDS)


class BoundedBody:
    """The body of a request, bounded in bytes and seconds."""

    def __init__(self, receive: Receive, headers: Headers, most_bytes: int, seconds: float) -> None:
        self._receive, self._most_bytes, self._seconds = receive, most_bytes, seconds
        self._until, self._size, self._whole = time.monotonic() + seconds, 0, False
        declared = headers.get("content-length", "0")
        if declared.isdigit():
            self._check(int(declared))

    def _check(self, size: int) -> None:
        if size > self._most_bytes:
            raise RefusedError(413, f"more than {round(self._most_bytes / 1e6, 2):g} MB were sent")

    async def receive(self) -> Message:
        """The next part. Raises RefusedError where the body is too large or too slow."""
        if self._whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._until - time.monotonic())
        except TimeoutError:
            raise RefusedError(408, f"the request took longer than {self._seconds:.0f} seconds") from None
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        self._check(self._size)
        return message


class Answer:
    """The answer to a request, with the headers that all have."""

    def __init__(self, send: Send) -> None:
        self._send, self._started = send, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            MutableHeaders(scope=message).update(HEADERS)
        await self._send(message)

    async def refuse(self, status: int, text: str) -> None:
        """One line of JSON, unless an answer is on its way."""
        if not self._started:
            content = json.dumps({"error": text}).encode()
            lines: list[Any] = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
            await self.send({"type": "http.response.start", "status": status, "headers": lines})
            await self.send({"type": "http.response.body", "body": content})
