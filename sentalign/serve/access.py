"""Who may ask: requests of this page alone, for others than this machine with a token.

In: the headers and the path of a request. Out: nothing, or `RefusedError`. On loopback the danger is a foreign page in
the same browser: it could name this server by a domain of its own (DNS rebinding: the Host header) or send it requests
(Sec-Fetch-Site, Origin).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
DATA = "/api/"  # below it are pictures and results; the page itself holds none


class RefusedError(Exception):
    """A request that cannot be answered; the message holds no value of a file and no identity."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Access:
    """The address that the server listens at, and the token, None on loopback alone."""

    host: str
    token: str | None

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises RefusedError where a request may not pass; `headers` are by lower-case names."""
        host = headers.get("host", "")
        if self.token is None and not self._is_local(host):
            raise RefusedError(
                403, "this server answers to 127.0.0.1 and localhost alone; open the address that it printed"
            )
        if not path.startswith(DATA):
            return
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") or not _is_own(headers, host):
            raise RefusedError(403, "requests of other pages are refused")
        if self.token is not None and not self._is_token(headers.get("authorization", "")):
            raise RefusedError(401, "the token is missing or wrong")

    def _is_local(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name in LOOPBACK or name == self.host

    def _is_token(self, given: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(given.removeprefix("Bearer ").encode(), self.token.encode())


def _is_own(headers: Mapping[str, str], host: str) -> bool:
    """Whether the page that sent a request is this server's, as far as the browser says; old ones say Origin alone."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == host
