"""Steps of the DeepSpeed engine on two ranks, at every ZeRO stage, against plain PyTorch on the whole batch."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import torch

from sentalign import config as configuration
from sentalign.loss import reference
from sentalign.model import dual, image, text
from sentalign.stream.augment import normalize
from sentalign.stream.batch import Batch
from tests.loss.cases import distinct_reports
from tests.multiproc.ranks import on_ranks, rows_of_rank

BATCH, STEPS = 8, 3
SETTINGS = {
    "run": "none",
    "seed": 5,
    "data": {"shards": "none", "batch": BATCH, "image_size": 32},
    # ConvNeXt: batch norm would see half a batch on each rank.
    "model": {
        "width": 16,
        "image": {"backbone": {"model_type": "convnext"}, "region_stage": "stage1", "global_stage": "stage2"},
        "text": {"backbone": {"hidden_size": 16}},
    },
    "optimizer": {"lr": 1e-2, "betas": [0.9, 0.99], "weight_decay": 0.01, "schedule": "constant"},
}


def towers():
    """Small towers without dropout and batch norm, the same on every call."""
    torch.manual_seed(0)
    vision = {"model_type": "convnext", "num_channels": 1, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    return dual.DualEncoder(image.build(None, vision, "stage1", "stage2", 16), text.build(None, bert, 40, 4))


def batch(step, rows, swapped=False, alone=False):
    """The given rows of a random global batch with ragged sentences; `swapped`: and of some a swapped report too.

    The second half of the rows, a rank's of two, has one of them, the first two. `alone`: with rows of sentences.
    """
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(0, 256, (BATCH, 32, 32), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(5, 40, (BATCH, 12), generator=generator)
    counts = torch.randint(1, 4, (BATCH,), generator=generator)
    places = torch.arange(12)[None].expand(BATCH, -1)
    unit = torch.where((places > 0) & (places < 1 + 3 * counts[:, None]), (places - 1) // 3, -1)
    words = torch.zeros(BATCH, 4)
    words[:, 0] = 12
    words[:, 1:] = 3.0 * (torch.arange(3)[None] < counts[:, None])
    attention = torch.ones(BATCH, 12, dtype=torch.bool)
    names = [f"k{step}-{n}" for n in range(BATCH)][rows]
    starts = unit >= 0  # a piece is a word
    parts = [part[rows] for part in (images, tokens, attention, unit, starts, words)]
    ids = [part[rows] for part in random_ids(words > 0, generator)]
    # Two length buckets, of which neither order nor widths may change a result.
    order_B = torch.randperm(len(names), generator=generator)
    made = Batch(*parts, order_B, *ids, (12, 12), names, [0] * len(names), [[]] * len(names))
    made = with_swapped(made, rows, tokens, counts, step) if swapped else made
    return with_sentences_alone(made) if alone else made


def with_swapped(made, rows, tokens, counts, step):
    """The batch with reports as further texts that differ in a token of each sentence, of rows 0, 2 and 5 of all."""
    chosen, generator = torch.tensor([0, 2, 5]), torch.Generator().manual_seed(100 + step)
    other = tokens[chosen].clone()
    other[:, 1::3] = torch.randint(5, 40, (3, 4), generator=generator)
    negative_BK = torch.zeros(BATCH, 4, dtype=torch.bool)
    negative_BK[chosen, 1] = True
    negative_BK[chosen[1], 2] = bool(counts[chosen[1]] > 1)
    here = torch.arange(BATCH)[rows].tolist()
    kept = [n for n, row in enumerate(chosen.tolist()) if row in here]
    of_F = torch.tensor([here.index(chosen[n]) for n in kept], dtype=torch.int64)
    texts = {"tokens_BT": other[kept]}
    texts |= {
        name: getattr(made, name)[of_F] for name in ("attention_BT", "unit_id_BT", "word_start_BT", "word_counts_BK")
    }
    texts = {name: torch.cat([getattr(made, name), rows]) for name, rows in texts.items()}
    order = torch.randperm(len(here) + len(kept), generator=generator)
    return replace(made, **texts, order_B=order, swapped_F=of_F, negative_BK=negative_BK[rows])


def with_sentences_alone(made):
    """The batch with each sentence of its texts, three positions wide, as a row of its own, in two length buckets."""
    spans = [(n, 1 + 3 * k) for n, ids in enumerate(made.unit_id_BT.tolist()) for k in range(max(ids) + 1)]
    return replace(made, alone_E3=torch.tensor([(*span, 3) for span in spans]), alone_widths=(5, 8))


def random_ids(present, generator):
    """Studies, reports, sentences and tags, of which some are equal."""
    study = torch.randint(1, 6, (BATCH,), generator=generator)
    unit = torch.randint(1, 5, present.shape, generator=generator) * present
    unit[:, 0] = 0
    tags = (torch.randint(0, 4, present.shape, generator=generator) * (unit > 0)).to(torch.uint8)
    return study, (unit * 7 ** torch.arange(unit.shape[1])).sum(1), unit[:, 1:], unit, tags


def reference_terms(model, step_batch, config=None, ids=None):
    """The reference loss of a batch by one graph over all of it; of distinct reports without `ids`."""
    images = normalize(step_batch.images_BHH).to(next(model.parameters()).dtype)
    present, features = step_batch.word_counts_BK > 0, model(images)
    units_BKD, report_BD = text_vectors(model, step_batch, slice(None))
    vectors = (features.regions_BRD, features.image_BD, units_BKD, present, report_BD)
    return reference.four_terms(*vectors, config or reference.LossConfig(), ids or distinct_reports(present))


def text_vectors(model, whole, rows):
    """Units (N, K, D) and report vectors of some texts; a sentence that is a row of its own by one call for it."""
    words = [x[rows] for x in (whole.tokens_BT, whole.attention_BT, whole.unit_id_BT, whole.word_counts_BK)]
    present = words[3] > 0
    features = model(None, text.buckets(*words, present))
    width = features.units_MD.shape[1]
    units = features.units_MD.new_zeros(*present.shape, width).masked_scatter(present[:, :, None], features.units_MD)
    if whole.alone_E3 is None:
        return units, features.report_BD
    alone = [[own[0]] for own in units]
    for n, k in present[:, 1:].nonzero().tolist():
        tokens = words[0][n]
        one = torch.stack([tokens[0], *tokens[words[2][n] == k], tokens[words[1][n]][-1]])[None]
        ids, counts = torch.tensor([[-1, *[0] * (one.shape[1] - 2), -1]]), torch.stack([words[3][n][[0, 1 + k]]])
        bucket = text.buckets(one, torch.ones_like(one).bool(), ids, counts, counts > 0)
        alone[n].append(model(None, bucket).units_MD[1])
    padding = units.new_zeros(present.shape[1], width)
    padded = [torch.cat([torch.stack(own), padding])[: present.shape[1]] for own in alone]
    return torch.stack(padded), features.report_BD


def plain(clipping):
    """One process, the whole batch, the reference loss, AdamW."""
    model = towers()
    settings = configuration.check(SETTINGS).optimizer
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
    )
    for step in range(STEPS):
        optimizer.zero_grad()
        reference.total(reference_terms(model, batch(step, slice(None)))).backward()
        if clipping:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clipping)
        optimizer.step()
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def trained(cases):
    """The weights after some steps of the engine, for every (stage, clipping)."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.checkpoint import full_state
    from sentalign.engine import build
    from sentalign.engine.step import train_step

    build.init_ranks(2)
    states = []
    for stage, clipping in cases:
        tree = SETTINGS | {"train": {"zero_stage": stage}}
        tree["optimizer"] = SETTINGS["optimizer"] | {"gradient_clipping": clipping}
        settings = configuration.check(tree)
        engine = build.build(towers(), settings)
        for step in range(STEPS):
            train_step(engine, batch(step, rows_of_rank(BATCH)), settings, step * BATCH, settings.optimizer.lr)
        states.append({name: value.numpy() for name, value in full_state.weights(engine).items()})
    return states


def test_every_stage_makes_the_steps_of_plain_pytorch():
    cases = [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0), (0, 0.3), (1, 0.3), (3, 0.3)]
    exact = {clipping: plain(clipping) for clipping in (0.0, 0.3)}
    start = {name: value.numpy() for name, value in towers().state_dict().items()}
    for (stage, clipping), state in zip(cases, on_ranks(2, trained, cases)[0], strict=True):
        expected = exact[clipping]
        assert state.keys() == expected.keys()
        # Adam divides by the gradient's size. A key's bias has none (softmax does not depend on it), so its step is
        # rounding; elsewhere rounding of tiny gradients may show up to 1% of the change.
        names = [name for name in expected if "key.bias" not in name]
        change = max(np.abs(expected[name] - start[name]).max() for name in names)
        worst = max(np.abs(state[name] - expected[name]).max() for name in names)
        assert worst <= 0.01 * change, (stage, clipping, worst, change)
