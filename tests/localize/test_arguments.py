"""The arguments that localize and evaluate share."""

from __future__ import annotations

import pytest
import torch

from sentalign.localize.arguments import make_folder, pick_device
from sharding.contract import UserError


@pytest.mark.parametrize(("gpu", "argument", "device"), [
    (True, None, "cuda"), (False, None, "cpu"), (True, "cpu", "cpu"), (False, "cuda:1", "cuda:1"),
])  # fmt: skip
def test_the_default_device_is_the_gpu_that_torch_sees(gpu, argument, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert pick_device(argument) == device


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file.*give another --out"):
        make_folder(tmp_path / "file")
