"""View terms of one rank: which images have them, what gets a gradient, and whose statistics batch norm keeps."""

from __future__ import annotations

import torch
from torch import nn

from sentalign import config as configuration
from sentalign.engine import loss_scalars, step, view_terms
from sentalign.engine.inputs import prepare
from sentalign.loss import objective
from sentalign.model import dual, image, text
from sentalign.stream.augment import normalize
from sentalign.stream.views import ViewMaker
from tests.multiproc.test_engine import BATCH, SETTINGS, batch

HAS_VIEW = [False, True, False, False, True, False, False, True]
CONFIG = configuration.check(
    SETTINGS | {"loss": {"attention": "cosine", "weight_rescale": 2.0, "weight_window": 3.0, "window": 1.0}}
)


class Engine(nn.Module):
    """The model under the two names that DeepSpeed's engine has it by."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        vision = {"layer_type": "basic", "num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 12],
                  "depths": [1, 1]}  # fmt: skip
        bert = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        tower = image.build(None, vision, "stage1", "stage2", 16)
        self.module = dual.DualEncoder(tower, text.build(None, bert, 40, 4))
        self.region_grid = tower.region_grid(32)

    def forward(self, *inputs):
        return self.module(*inputs)


def divergences(engine, rows, config=CONFIG):
    """Of some rows of a batch whose features are computed first, the inputs, and the buffers before the views."""
    whole = batch(0, slice(None))
    images = normalize(whole.images_BHH)
    views = ViewMaker(images, whole.keys, whole.epochs, HAS_VIEW, config.seed, config.loss)
    inputs = prepare(whole, images, config, lambda *_: None, views)
    features = engine(images, inputs.buckets)
    units_MD, _ = objective.gather_texts(features.units_MD, features.report_BD, inputs.reports)
    buffers = [b.clone() for b in engine.buffers()]
    scored = loss_scalars.loss_config(config.loss, features.loss_scalars_N)
    found = view_terms.divergences(engine, features.regions_BRD[rows], units_MD, rows, inputs, scored)
    return found, inputs, buffers


def test_only_chosen_images_have_divergences_and_batch_norm_keeps_the_statistics_of_plain_images():
    engine = Engine()
    found, inputs, buffers = divergences(engine, slice(0, BATCH))
    assert found.shape == (BATCH, 2, inputs.reports.present_bK.shape[1])
    assert (found.abs().sum((1, 2)) > 0).tolist() == HAS_VIEW
    assert buffers
    assert all(torch.equal(*pair) for pair in zip(buffers, engine.buffers(), strict=True))
    parts = [divergences(engine.eval(), rows)[0] for rows in (slice(0, 3), slice(3, 4), slice(4, 8))]
    torch.testing.assert_close(torch.cat(parts), divergences(engine, slice(0, BATCH))[0])


def test_terms_are_weighted_means_over_sentences_without_cls_and_reach_both_towers():
    engine = Engine()
    found, inputs, _ = divergences(engine, slice(0, BATCH))
    terms = view_terms.terms(found, inputs)
    for number, kind in enumerate(("rescale", "window")):
        pairs = [(n, k) for n in range(BATCH) if HAS_VIEW[n] for k in range(1, 4) if inputs.reports.present_bK[n, k]]
        mean = sum(found[n, number, k].item() for n, k in pairs) / len(pairs)
        torch.testing.assert_close(terms[kind].item(), mean, rtol=1e-5, atol=0)
        gradients = torch.autograd.grad(terms[kind], engine.parameters(), retain_graph=True, allow_unused=True)
        reached = {name for (name, _), g in zip(engine.named_parameters(), gradients, strict=True) if g is not None}
        assert {"module.image.to_regions.weight", "module.text.bert.embeddings.word_embeddings.weight"} <= reached
        assert "module.image.to_global.weight" not in reached
    four = dict.fromkeys(("global_tv", "global_vt", "local_tv", "local_vt"), torch.tensor(1.0))
    loss = inputs.with_loss(four | terms)["loss"]
    torch.testing.assert_close(loss, 4 + 2 * terms["rescale"] + 3 * terms["window"])


def test_second_views_start_after_the_pairs_that_the_setting_says():
    whole = batch(0, slice(None))
    images, late = normalize(whole.images_BHH), CONFIG.loss.model_copy(update={"view_after_pairs": 3 * BATCH})
    config = CONFIG.model_copy(update={"loss": late})
    made = [step.views_of(whole, images, config, number * BATCH) for number in range(5)]
    assert [views is None for views in made] == [True, True, True, False, False]
    assert [sum(views.has_view) for views in made[3:]] == [2, 2]
    assert made[3].has_view != made[4].has_view
    plain = CONFIG.model_copy(update={"loss": late.model_copy(update={"weight_rescale": 0.0, "weight_window": 0.0})})
    assert step.views_of(whole, images, plain, 4 * BATCH) is None
