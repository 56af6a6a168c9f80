"""Uploaded bytes → pictures, by processes of their own: a file that crashes or hangs a decoder costs itself alone.

In: the bytes of a DICOM, PNG or JPEG file. Out: a `DeepPicture`. Nothing is written to disk.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from multiprocessing.connection import Connection

from sentalign.serve.refused import RefusedError
from sharding import pixels
from sharding.contract import Rejected
from sharding.pixels import DeepPicture

# Forked processes would inherit the locks of torch's threads; these import what decodes, and no torch.
CONTEXT = multiprocessing.get_context("spawn")
SECONDS = 30.0  # for one file; the largest detectors take two


class Decoders:
    """Processes that wait for files, each with one file at a time."""

    def __init__(self, processes: int = 2, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._all = [_Decoder() for _ in range(processes)]
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        for decoder in self._all:
            self._idle.put_nowait(decoder)

    async def decode(self, data: bytes) -> DeepPicture:
        """Raises RefusedError where the bytes are no sound picture, or take too long."""
        decoder = await self._idle.get()
        # Shielded: a person who leaves must not leave a process with half a picture.
        work = asyncio.ensure_future(asyncio.to_thread(decoder.decode, data, self._seconds))
        work.add_done_callback(lambda _: self._idle.put_nowait(decoder))
        result = await asyncio.shield(work)
        if isinstance(result, str):
            raise RefusedError(422, f"the file was refused: {result}")
        return result

    def close(self) -> None:
        """Ends the processes."""
        for decoder in self._all:
            decoder.stop()


class _Decoder:
    """A process, started again after it had to be killed."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pipe, other = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_work, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def decode(self, data: bytes, seconds: float) -> DeepPicture | str:
        """The picture, or why there is none."""
        try:
            self._pipe.send_bytes(data)
            if self._pipe.poll(seconds):
                result: DeepPicture | str = self._pipe.recv()  # of our own process
                return result
            reason = f"it takes longer than {seconds:.0f} seconds to decode"
        except (OSError, EOFError):
            reason = "its decoder crashed"
        self.stop()
        self._start()
        return reason

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    while True:
        try:
            data = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send(_decode(data))


def _decode(data: bytes) -> DeepPicture | str:
    try:
        return pixels.read_deep(data)
    except Rejected as error:
        return str(error)
    except MemoryError:
        return "it is larger than the memory"
