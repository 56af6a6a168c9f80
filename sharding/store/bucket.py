"""Files in an object store: S3, Google Cloud Storage, Azure Blob Storage. The only importer of obstore.

In: an address; credentials, endpoint and proxy from the environment, under the names that obstore reads. Out: `Bucket`.
A store's answer may hold keys, signatures and names of patients: error messages take nothing from it but the status
number and the error code.
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
from obstore import exceptions
from obstore.store import from_url

from sharding.contract import UserError
from sharding.store import environment, errors
from sharding.store.base import Store

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

Result = TypeVar("Result")

RETRY_TIMEOUT = timedelta(seconds=20)  # after the first try of a request; then the user gets an error
READ_TIMEOUT = timedelta(seconds=30)  # without a byte from a server that has taken a request
CONNECT_TIMEOUT = timedelta(seconds=5)
MAX_BACKOFF = timedelta(seconds=4)  # between two tries
PART_BYTES = 8 << 20  # parts share a slow line, and each must be through within READ_TIMEOUT
PARTS_AT_ONCE = 4
COALESCE = 4096  # bytes between two ranges that are fetched along with them: headers of a tar, no sample

# obstore's exceptions that tell the cause; `errors.by_text` has those that share one type.
BY_TYPE: dict[type[Exception], errors.Cause] = {
    exceptions.InvalidPathError: errors.BAD_NAME,
    exceptions.PermissionDeniedError: errors.DENIED,
    exceptions.UnauthenticatedError: errors.DENIED,
}


class Bucket(Store):
    """The objects below an address; a prefix is a folder: `s3://bucket/a` holds `a/b`, not `ab`."""

    _process: ClassVar[int] = 0

    def __init__(self, address: str, timeout: float | None = None) -> None:
        """Raises UserError for an address or an environment that cannot be right; nothing is sent yet.

        `timeout`: see `locations.open_store`; None for RETRY_TIMEOUT and READ_TIMEOUT.
        """
        scheme, _, rest = address.partition("://")
        host, _, path = rest.partition("/")
        path = path.strip("/")
        if scheme not in environment.PREFIXES:
            raise UserError(f"{scheme[:20]}:// is not a store; give a path, s3://, gs://, az:// or abfss://")
        # An Azure address may be CONTAINER@ACCOUNT.dfs.core.windows.net; every other @ follows a key.
        if not host or re.search(r"[?#]", path) or ":" in host or ("@" in host and not scheme.startswith("abfs")):
            raise UserError(f"{scheme}:// takes a bucket and a folder; set credentials as environment variables")
        self.url, self._prefix = f"{scheme}://{host}/{path}".rstrip("/"), environment.PREFIXES[scheme]
        environment.check(self._prefix)
        # A dead connection is common and no outage. Two fifths of the timeout for tries to start in, so that there is a
        # second one; a fifth for the last try to get no answer, a fifth for its answer to be cut off, a fifth to spare.
        fifth = timedelta(seconds=timeout / 5) if timeout else None
        read_timeout = min(READ_TIMEOUT, fifth or READ_TIMEOUT)
        self._retry_timeout = 2 * fifth if fifth else RETRY_TIMEOUT
        location = f"{scheme}://{host}/{quote(path)}"
        self._objects: ObjectStore = self._request(
            lambda: _open(location, self._prefix, read_timeout, self._retry_timeout)
        )

    def find(self, name: str) -> bytes | None:
        try:
            return self._request(lambda: bytes(obstore.get(self._objects, name).bytes()))
        except FileNotFoundError:
            return None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        if length == 0:
            return b""
        try:
            part = self._request(lambda: bytes(obstore.get_range(self._objects, name, start=offset, length=length)))
        except FileNotFoundError:
            raise self._missing(name) from None
        if len(part) != length:
            raise self._short(name, offset + length)
        return part

    def get_ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Like `Store.get_ranges`; near spans are fetched in one request."""
        near = _merged(spans)  # obstore merges them too, but panics where the answer is short
        starts, ends = zip(*near, strict=True)
        try:
            buffers = self._request(
                lambda: obstore.get_ranges(self._objects, name, starts=starts, ends=ends, coalesce=0)
            )
        except FileNotFoundError:
            raise self._missing(name) from None
        parts = [memoryview(part) for part in buffers]
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
            self._request(
                lambda: obstore.put(self._objects, name, content, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
            )
        except FileNotFoundError:
            raise UserError(f"{self.url}: cannot write here; check the address") from None

    def delete(self, name: str) -> None:
        try:
            self._request(lambda: obstore.delete(self._objects, name))
        except FileNotFoundError:
            self._check_bucket(name)  # the file is gone already, as wanted

    def size(self, name: str) -> int | None:
        try:
            return self._request(lambda: int(obstore.head(self._objects, name)["size"]))
        except FileNotFoundError:
            self._check_bucket(name)
            return None

    def list(self, prefix: str = "") -> list[str]:
        return sorted(name for name, _ in self._request(lambda: _listed(self._objects, prefix)))

    def states(self) -> dict[str, str]:
        return dict(sorted(self._request(lambda: _listed(self._objects, ""))))

    def _check_bucket(self, name: str) -> None:
        """Raises UserError if the bucket is missing, not the file alone: only the answer to a GET tells everywhere."""
        self.find(name)

    def _request(self, call: Callable[[], Result]) -> Result:
        """The result of the call; raises FileNotFoundError for a missing file and UserError for every other failure."""
        Bucket._process = Bucket._process or os.getpid()
        assert Bucket._process == os.getpid(), "obstore's threads do not survive a fork: start workers by spawn"
        deadline = time.monotonic() + self._retry_timeout.total_seconds()
        for last in (False, False, True):
            try:
                return call()
            except (OSError, ValueError, exceptions.BaseError) as error:
                # obstore retries a request without an answer and half a file, but no other answer that is cut off.
                if not last and "body error" in str(error) and time.monotonic() < deadline:
                    continue
                cause = BY_TYPE.get(type(error)) or errors.by_text(str(error))
                if isinstance(error, FileNotFoundError) and cause is not errors.NO_BUCKET:
                    raise FileNotFoundError from None
                raise self._user_error(cause, str(error)) from None
            except BaseException as error:
                if type(error).__name__ != "PanicException":  # of Rust, which no module exports
                    raise
                raise self._user_error(errors.UNKNOWN, "") from None
        raise AssertionError

    def _user_error(self, cause: errors.Cause, text: str) -> UserError:
        status, code = re.search(r"status code: (\d{3})", text), re.search(r"<Code>([A-Za-z0-9]{1,60})</Code>", text)
        codes = " ".join(match[1] for match in (status, code) if match)
        mend = cause.mend.format(**environment.names(self._prefix))
        return cause.error(f"{self.url}: {cause.wrong}{f' ({codes})' if codes else ''}; {mend}")


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order; those with at most COALESCE bytes between them become one."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin - merged[-1][1] <= COALESCE:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _listed(objects: ObjectStore, prefix: str) -> list[tuple[str, str]]:
    pages = obstore.list(objects, prefix or None, chunk_size=1000)
    return _without_markers([(entry["path"], _state(entry)) for page in pages for entry in page])


def _without_markers(states: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Consoles mark a folder by an empty object `images/`; obstore lists it as `images`, which cannot be read."""
    folders: set[str] = set()
    for name, _ in states:
        folder = posixpath.dirname(name)
        while folder and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    return [(name, state) for name, state in states if name not in folders or not state.startswith("0-")]


def _state(entry: ObjectMeta) -> str:
    return f"{entry['size']}-{entry['e_tag'] or entry['last_modified']}"


def _open(address: str, prefix: str, read_timeout: timedelta, retry_timeout: timedelta) -> ObjectStore:
    connect_timeout = min(CONNECT_TIMEOUT, read_timeout)
    options: ClientConfig = {"connect_timeout": connect_timeout, "read_timeout": read_timeout, "timeout": "1h"}
    options |= environment.options(prefix)  # type: ignore[typeddict-item]
    retry: RetryConfig = {
        "max_retries": 1000,  # time alone decides
        "retry_timeout": retry_timeout,
        "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": min(MAX_BACKOFF, retry_timeout), "base": 3},
    }
    return from_url(address, client_options=options, retry_config=retry)
