"""Who may ask: requests of this page alone, for others than this machine with a token.

In: an HTTP request. Out: a refusal, or None. On loopback the danger is a foreign page in the same browser: it could
name this server by a domain of its own (DNS rebinding: the Host header) or send it requests (Sec-Fetch-Site).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
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
DATA = "/api/"  # below it are pictures and results; the page itself holds none


@dataclass(frozen=True)
class Access:
    """The address that the server listens at, and the token, None on loopback alone."""

    host: str
    token: str | None

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """The status and the reason of a refusal; None where the request may pass."""
        if self.token is None and not self._is_local(request.headers.get("host", "")):
            return 403, "this server answers to 127.0.0.1 and localhost alone; open the address that it printed"
        if not request.url.path.startswith(DATA):
            return None
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return 403, "requests of other pages are refused"
        if self.token is not None and not self._bears_token(request):
            return 401, "the token is missing or wrong"
        return None

    def _is_local(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name in LOOPBACK or name == self.host

    def _bears_token(self, request: Request) -> bool:
        assert self.token is not None
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self.token.encode())
