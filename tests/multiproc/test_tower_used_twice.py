"""A tower that is used twice in one step: its gradients at every ZeRO stage equal those of plain PyTorch.

A loss between two views of an image relies on it. DeepSpeed's hooks release, reduce and count per use of a module, and
issue 8224 reports gradients that are silently wrong in some versions (ZeRO 2, bfloat16).
"""

from __future__ import annotations

import os
from itertools import product

import pytest
import torch

from sentalign import config as configuration
from sentalign.model import dual, image, text
from sentalign.stream.augment import normalize
from tests.multiproc.ranks import on_ranks, rows_of_rank
from tests.multiproc.test_cached import worst
from tests.multiproc.test_engine import BATCH, SETTINGS, batch

STEPS, LR = 2, 0.05
CASES = [(stage, precision) for precision, stage in product(("float32", "bfloat16"), range(4))]
TOLERANCE = {"float32": (1e-5, 1e-5), "bfloat16": (1e-3, 2e-2)}  # of gradients, and of weights after some steps


def settings(stage, precision):
    tree = SETTINGS | {"train": {"zero_stage": stage, "precision": precision}}
    tree["optimizer"] = {"kind": "sgd", "lr": LR, "weight_decay": 0.0, "gradient_clipping": 0.0}
    return configuration.check(tree)


def towers():
    """Both towers, the image tower with convolutions, layer norms, linear layers and a bare parameter (layer scale)."""
    torch.manual_seed(0)
    vision = {"model_type": "convnext", "num_channels": 1, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1],
              "layer_scale_init_value": 0.5}  # fmt: skip
    bert = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    return dual.DualEncoder(image.build(None, vision, "stage1", "stage2", 16), text.build(None, bert, 40, 4))


def views(step, rows):
    """Images, and other images of half as many rows, so that the two uses differ in shape too."""
    images_B1HH = normalize(batch(step, rows).images_BHH)
    return images_B1HH, images_B1HH[::2].flip(-1) * 0.5


def loss_of(first, second):
    """A loss that multiplies the two uses with each other, a mean over the rows."""
    regions, image_ = first.regions_BRD.float(), first.image_BD.float()
    difference = regions[::2] - second.regions_BRD.float()
    product_ = (image_[::2] * second.image_BD.float()).mean()
    return difference.square().mean() + product_ + image_.square().mean() + regions.tanh().mean()


def plain(precision, whole):
    """Gradients of the first step and weights after the last, in one process.

    In half precision each rank's rows have a graph of their own, as rounding of sums depends on which rows are summed.
    """
    model = towers().double() if whole else towers()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    first, parts = {}, [slice(None)] if whole else [slice(0, BATCH // 2), slice(BATCH // 2, BATCH)]
    for step in range(STEPS):
        optimizer.zero_grad()
        for rows in parts:
            features = []
            for images in views(step, rows):
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    features.append(model(images.double() if whole else images))
            (loss_of(*features) / len(parts)).backward()
        first = first or {n: p.grad.clone().numpy() for n, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
    return first, {name: value.detach().numpy() for name, value in model.state_dict().items()}


def trained(cases):
    """The engine's gradients of the first step and weights after the last, for every case."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    from sentalign.checkpoint import full_state
    from sentalign.engine import build

    build.init_ranks(2)
    results = []
    for stage, precision in cases:
        engine, gradients = build.build(towers(), settings(stage, precision)), {}
        for step in range(STEPS):
            both = views(step, rows_of_rank(BATCH))
            engine.backward(loss_of(*(engine(images) for images in both)))
            for name, parameter in engine.module.named_parameters():
                if step == 0 and name.startswith("image."):
                    full = deepspeed.utils.safe_get_full_grad(parameter)
                    gradients[name] = None if full is None else full.numpy().copy()
            engine.step()
        results.append((gradients, {name: value.numpy() for name, value in full_state.weights(engine).items()}))
    return results


@pytest.mark.slow  # test_views.py has the real losses at every stage among the fast tests
def test_two_uses_in_one_step_have_the_gradients_of_plain_pytorch():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as on the ranks: sums of bfloat16 depend on how they are divided
    exact = {precision: plain(precision, precision == "float32") for precision in ("float32", "bfloat16")}
    torch.set_num_threads(threads)
    for (stage, precision), (gradients, weights) in zip(CASES, on_ranks(2, trained, CASES)[0], strict=True):
        for found, expected, tolerance in zip(
            (gradients, weights), exact[precision], TOLERANCE[precision], strict=True
        ):
            difference, name = worst(found, expected)
            assert difference <= tolerance, (stage, precision, name, difference)
