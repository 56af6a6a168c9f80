"""Decoding processes: one that hangs or dies costs its file alone."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal

import pytest

from sentalign.serve.access import RefusedError
from sentalign.serve.decoders import Decoders
from tests.localize.dicom_out.test_dicom_out import COLUMNS, ROWS, write_dicom


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dicom(tmp_path_factory.mktemp("picture") / "image.dcm").read_bytes()


def decoded(scenario, seconds=30.0, processes=1):
    async def run():
        decoders = Decoders(processes, seconds)
        try:
            return await scenario(decoders)
        finally:
            decoders.close()

    return asyncio.run(run())


@pytest.mark.parametrize(("stop", "reason"), [(signal.SIGSTOP, "longer than 1 seconds"), (signal.SIGKILL, "crashed")])
def test_a_process_that_hangs_or_dies_is_replaced(data, stop, reason):
    async def scenario(decoders):
        await decoders.decode(data)
        decoders._seconds = 1.0
        os.kill(decoders._all[0]._process.pid, stop)
        with pytest.raises(RefusedError, match=reason):
            await decoders.decode(data)
        decoders._seconds = 30.0
        return await decoders.decode(data)

    assert decoded(scenario).picture.grey_HW.shape == (ROWS, COLUMNS)


def test_a_person_who_leaves_frees_the_process_for_the_next(data):
    async def scenario(decoders):
        leaving = asyncio.create_task(decoders.decode(data))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return await decoders.decode(data)

    assert decoded(scenario).picture.grey_HW.shape == (ROWS, COLUMNS)


def test_many_files_are_decoded_by_few_processes(data):
    async def scenario(decoders):
        return await asyncio.gather(*(decoders.decode(data) for _ in range(5)))

    assert len(decoded(scenario, processes=2)) == 5


def test_gzip_is_undone(data):
    async def scenario(decoders):
        packed = await decoders.decode(gzip.compress(data))
        with pytest.raises(RefusedError, match="damaged gzip"):
            await decoders.decode(gzip.compress(data)[:-20])
        return packed, await decoders.decode(data)

    packed, plain = decoded(scenario)
    assert (packed.picture.grey_HW == plain.picture.grey_HW).all()
