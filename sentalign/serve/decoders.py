"""Uploaded bytes → pictures, by processes of their own: a file that crashes or hangs a decoder costs itself alone.

In: the bytes of a DICOM, PNG or JPEG file, also in gzip. Out: a `FullDepthPicture`. Nothing is written to disk.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from sentalign.serve.access import RefusedError
from sharding import pixels
from sharding.contract import Rejected, UserError
from sharding.pixels import FullDepthPicture
from sharding.text import encoding

# Forked processes would inherit the locks of torch's threads; these import what decodes, and no torch.
CONTEXT = multiprocessing.get_context("spawn")
SECONDS = 30.0  # for one file; the largest detectors take two
MEMORY = 2**32  # bytes of one process
DAMAGED = "it is damaged, cut off or of an unknown kind"


class Decoders:
    """Processes that wait for files, each with one file at a time."""

    def __init__(self, processes: int = 2, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._all = [_Decoder() for _ in range(processes)]
        self._threads = ThreadPoolExecutor(processes, "decoder")  # of their own: others may be busy
        self._idle: asyncio.Queue[_Decoder] = asyncio.Queue()
        for decoder in self._all:
            self._idle.put_nowait(decoder)

    async def decode(self, data: bytes | bytearray) -> FullDepthPicture:
        """Raises RefusedError where the bytes are no sound picture, or take too long."""
        decoder = await self._idle.get()
        # Shielded: a person who leaves must not leave a process with half a picture.
        work = asyncio.get_running_loop().run_in_executor(self._threads, decoder.decode, data, self._seconds)
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

    def decode(self, data: bytes | bytearray, seconds: float) -> FullDepthPicture | str:
        """The picture, or why there is none."""
        late = threading.Event()
        timer = threading.Timer(seconds, _kill, [self._process, late])
        timer.start()
        try:
            self._pipe.send_bytes(data)
            result: FullDepthPicture | str = self._pipe.recv()  # of our own process
            return result
        except BaseException:
            # Whatever it was, a reply may still be in the pipe, which the next person must not get.
            self.stop()
            self._start()
            return f"it takes longer than {seconds:.0f} seconds to decode" if late.is_set() else "its decoder crashed"
        finally:
            timer.cancel()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _kill(process: BaseProcess, late: threading.Event) -> None:
    late.set()
    process.kill()


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while True:
        try:
            data = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send(_decode(data))


def _decode(data: bytes) -> FullDepthPicture | str:
    try:
        return pixels.read_full_depth(encoding.inflated(data, "the file"))
    except (Rejected, UserError) as error:
        return str(error)
    except MemoryError:
        return "it is larger than the memory"
    except Exception:  # of nearly any type, with texts that may quote the file
        return DAMAGED
