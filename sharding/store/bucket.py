"""Files in an object store: S3, Google Cloud Storage, Azure Blob Storage. The only importer of obstore.

In: an address; credentials, endpoint and proxy from the environment, under the names that obstore reads. Out: `Bucket`.
What a store answers may hold keys, signatures and names of patients: none of its words reach a message, but for a
status number and an error code.
"""

from __future__ import annotations

import os
import posixpath
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar
from urllib.parse import quote

import obstore
from obstore.store import from_url

from sharding.contract import UserError
from sharding.store.base import Store
from sharding.store.errors import BadFileError, OutOfReachError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

Answer = TypeVar("Answer")

# What the variables of each store begin with, by the scheme of its addresses.
FAMILIES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE", "abfs": "AZURE", "abfss": "AZURE"}
CREDENTIALS = {
    "AWS": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "GOOGLE": "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
ENDPOINTS = {"AWS": "AWS_ENDPOINT_URL", "GOOGLE": "GOOGLE_BASE_URL", "AZURE": "AZURE_STORAGE_ENDPOINT"}
ENDPOINT = re.compile(r"AWS_ENDPOINT(?:_URL(?:_S3)?)?|GOOGLE_BASE_URL|AZURE_(?:STORAGE_)?ENDPOINT")
# obstore takes these from the environment only where no option is given, and some are given here.
OPTIONS = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate", "proxy_excludes")
YES = ("1", "true", "on", "yes", "y")

GIVE_UP = timedelta(seconds=20)  # after the first try of a request; then the user is told
SILENCE = timedelta(seconds=30)  # of a server that has taken a request
CONNECT = timedelta(seconds=5)  # until a server takes one
BACKOFF = timedelta(seconds=4)  # between two tries at most
PART = 8 << 20  # bytes; as many parts as follow share a slow line, and each must be through within SILENCE
COALESCE = 4096  # bytes between two ranges that are fetched along with them: headers of a tar, no sample
PARTS_AT_ONCE = 4

LATER = "check {endpoint} and the network, then run the same command again"
# What an error and its sources say → its kind, what is wrong, how to mend it. The first that fits.
CAUSES: tuple[tuple[str, type[UserError], str, str], ...] = (
    (
        r"path segment|illegal character",
        UserError,
        "a name with //, /./, /../ or a control character in it",
        "rename it",
    ),
    (
        r"/latest/api/token|/computeMetadata/|/metadata/identity|169\.254\.",
        UserError,
        "no credentials",
        "set {credentials}",
    ),
    (r"NoSuchBucket|ContainerNotFound", UserError, "there is no such bucket", "make it, or mend the address"),
    (
        r"code: 40[13]",
        UserError,
        "wrong credentials, or not allowed",
        "check {credentials} and the rights on the bucket",
    ),
    (r"code: 416", BadFileError, "a file is shorter than it should be", "build or copy the data set again"),
    (r"code: (?:5\d\d|429)", OutOfReachError, "the store is down or overloaded", "run the same command again later"),
    (r"without LOCATION", UserError, "the bucket lies in another region", "set {family}_REGION"),
    (r"dns error", OutOfReachError, "the name of the host is unknown", LATER),
    (
        r"InvalidCertificate|tls|InvalidMessage",
        UserError,
        "no trusted https connection",
        "check {endpoint} and its certificate",
    ),
    (r"kind: Connect", OutOfReachError, "nothing answers", LATER),
    (r"kind: Timeout", OutOfReachError, "no answer in time", LATER),
    (r"HTTP error", OutOfReachError, "the connection broke", LATER),
    (r"", UserError, "it cannot be used", "check the address, {credentials} and the other {family} variables"),
)


class Bucket(Store):
    """The objects below an address; a prefix is a folder: `s3://bucket/a` holds `a/b`, not `ab`."""

    _process: ClassVar[int] = 0

    def __init__(self, address: str, patience: float | None = None) -> None:
        """Raises UserError for an address or an environment that cannot be right; nothing is sent yet.

        `patience`: see `locations.open_store`; None for as long as GIVE_UP and SILENCE say.
        """
        scheme, _, rest = address.partition("://")
        host, _, path = rest.partition("/")
        path = path.strip("/")
        if scheme not in FAMILIES:
            raise UserError(f"{scheme[:20]}:// is no store; give a path, s3://, gs://, az:// or abfss://")
        # An Azure address may be CONTAINER@ACCOUNT.dfs.core.windows.net; every other @ stands behind a key.
        if not host or re.search(r"[?#]", path) or ":" in host or ("@" in host and not scheme.startswith("abfs")):
            raise UserError(f"{scheme}:// takes a bucket and a folder; credentials stand in environment variables")
        self.url, self._family = f"{scheme}://{host}/{path}".rstrip("/"), FAMILIES[scheme]
        _check_environment(self._family)
        # A connection that brings nothing is common and no outage: two fifths for tries to begin in, so that there is a
        # second one, a fifth for the last one to meet silence, a fifth for its answer to be cut off, and one to spare.
        fifth = timedelta(seconds=patience / 5) if patience else None
        silence, self._give_up = min(SILENCE, fifth or SILENCE), 2 * fifth if fifth else GIVE_UP
        where = f"{scheme}://{host}/{quote(path)}"
        self._objects: ObjectStore = self._asked(lambda: _open(where, self._family, silence, self._give_up))

    def find(self, name: str) -> bytes | None:
        try:
            return self._asked(lambda: bytes(obstore.get(self._objects, name).bytes()))
        except FileNotFoundError:
            return None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        if length == 0:
            return b""
        try:
            part = self._asked(lambda: bytes(obstore.get_range(self._objects, name, start=offset, length=length)))
        except FileNotFoundError:
            raise self._missing(name) from None
        if len(part) != length:
            raise self._short(name, offset + length)
        return part

    def get_ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """As `Store` says; near spans are fetched in one request."""
        near = _joined(spans)  # obstore joins them too, but panics where the answer is short
        starts, ends = zip(*near, strict=True)
        try:
            found = self._asked(lambda: obstore.get_ranges(self._objects, name, starts=starts, ends=ends, coalesce=0))
        except FileNotFoundError:
            raise self._missing(name) from None
        parts = [memoryview(part) for part in found]
        for part, (begin, end) in zip(parts, near, strict=True):
            if len(part) != end - begin:
                raise self._short(name, end)
        places = [bisect_right(starts, begin) - 1 for begin, _ in spans]
        return [
            bytes(parts[place][begin - starts[place] : end - starts[place]])
            for place, (begin, end) in zip(places, spans, strict=True)
        ]

    def put(self, name: str, data: bytes) -> None:
        self._put(name, data)

    def put_file(self, name: str, source: Path) -> None:
        self._put(name, source)

    def _put(self, name: str, content: bytes | Path) -> None:
        try:
            self._asked(
                lambda: obstore.put(self._objects, name, content, chunk_size=PART, max_concurrency=PARTS_AT_ONCE)
            )
        except FileNotFoundError:
            raise UserError(f"{self.url}: nothing can be put here; check the address") from None

    def delete(self, name: str) -> None:
        try:
            self._asked(lambda: obstore.delete(self._objects, name))
        except FileNotFoundError:
            self._check_bucket(name)  # the file is gone already, which is what was wanted

    def size(self, name: str) -> int | None:
        try:
            return self._asked(lambda: int(obstore.head(self._objects, name)["size"]))
        except FileNotFoundError:
            self._check_bucket(name)
            return None

    def list(self, prefix: str = "") -> list[str]:
        return sorted(name for name, _ in self._asked(lambda: _listed(self._objects, prefix)))

    def states(self) -> dict[str, str]:
        return dict(sorted(self._asked(lambda: _listed(self._objects, ""))))

    def _check_bucket(self, name: str) -> None:
        """Raises UserError where not the file alone is missing; only the answer to a GET says so everywhere."""
        self.find(name)

    def _asked(self, call: Callable[[], Answer]) -> Answer:
        """What the call returns; raises FileNotFoundError for a missing file and UserError for all else that fails."""
        Bucket._process = Bucket._process or os.getpid()
        assert Bucket._process == os.getpid(), "obstore's threads do not survive a fork: start workers by spawn"
        late = time.monotonic() + self._give_up.total_seconds()
        for last in (False, False, True):
            try:
                return call()
            except (OSError, ValueError, obstore.exceptions.BaseError) as error:
                said = str(error)
                # obstore asks again where no answer comes or half a file, but not for the rest of any other answer.
                if not last and "body error" in said and time.monotonic() < late:
                    continue
                if isinstance(error, FileNotFoundError) and not re.search("NoSuchBucket|ContainerNotFound", said):
                    raise FileNotFoundError from None
                raise self._mistake(said) from None
            except BaseException as error:
                if type(error).__name__ != "PanicException":  # of Rust, which no module gives
                    raise
                raise self._mistake("") from None
        raise AssertionError

    def _mistake(self, said: str) -> UserError:
        _, kind, what, mend = next(cause for cause in CAUSES if re.search(cause[0], said))
        status, code = re.search(r"status code: (\d{3})", said), re.search(r"<Code>([A-Za-z0-9]{1,60})</Code>", said)
        numbers = " ".join(found[1] for found in (status, code) if found)
        mend = mend.format(credentials=CREDENTIALS[self._family], endpoint=ENDPOINTS[self._family], family=self._family)
        return kind(f"{self.url}: {what}{f' ({numbers})' if numbers else ''}; {mend}")


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, those with no more than COALESCE bytes between them as one."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin - joined[-1][1] <= COALESCE:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _listed(objects: ObjectStore, prefix: str) -> list[tuple[str, str]]:
    pages = obstore.list(objects, prefix or None, chunk_size=1000)
    return _without_markers([(entry["path"], _state(entry)) for page in pages for entry in page])


def _without_markers(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Consoles show an empty object `images/` as a folder; obstore names it `images`, where nothing can be read."""
    folders: set[str] = set()
    for name, _ in found:
        place = posixpath.dirname(name)
        while place and place not in folders:
            folders.add(place)
            place = posixpath.dirname(place)
    return [(name, state) for name, state in found if name not in folders or not state.startswith("0-")]


def _state(entry: ObjectMeta) -> str:
    return f"{entry['size']}-{entry['e_tag'] or entry['last_modified']}"


def _open(address: str, family: str, silence: timedelta, give_up: timedelta) -> ObjectStore:
    connect = min(CONNECT, silence)
    options: ClientConfig = {"connect_timeout": connect, "read_timeout": silence, "timeout": "1h"}
    for name in OPTIONS:
        value = os.environ.get(f"{family}_{name.upper()}")
        if value:
            options[name] = value  # type: ignore[literal-required]
    retry: RetryConfig = {
        "max_retries": 1000,  # time alone decides
        "retry_timeout": give_up,
        "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": min(BACKOFF, give_up), "base": 3},
    }
    return from_url(address, client_options=options, retry_config=retry)


def _check_environment(family: str) -> None:
    """Raises UserError for what obstore would take for an error of its own, and die of."""
    plain = os.environ.get(f"{family}_ALLOW_HTTP", "").lower() in YES
    for name, value in os.environ.items():
        # Only a service account and a certificate have lines.
        if name.startswith(f"{family}_") and not value.isprintable() and value[:1] not in "{-":
            raise UserError(f"{name} has a line break or another control character in it; take it out")
        if not ENDPOINT.fullmatch(name) or not name.startswith(family):
            continue
        found = re.fullmatch(r"(https?)://[^/?#@\s]+(?:/[^?#\s]*)?", value)
        if not found:
            raise UserError(f"{name} is no endpoint; give https://HOST or https://HOST:PORT")
        if found[1] == "http" and not plain:
            raise UserError(
                f"{name} is not encrypted; give https://, or set {family}_ALLOW_HTTP=true where all is trusted"
            )
