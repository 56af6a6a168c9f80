"""Training that starts from the weights of an earlier run."""

from __future__ import annotations

import pytest
import torch

from sentalign.model import dual, image, initial_weights, text
from sentalign.model.pretrained import WeightsError
from tests.model.conftest import BERT, RESNET, WIDTH, both


@pytest.fixture
def folder(tmp_path, model, images, buckets):
    """A run whose weights and running statistics are those of no new model."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    model.train()(images, buckets)
    dual.save(tmp_path / "run", model.describe(), model.state_dict())
    return tmp_path / "run"


@pytest.fixture
def images():
    return torch.randn(2, 1, 48, 80, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norms", ["batch", "frozen", "sync"])
def test_a_new_model_gets_all_weights_whatever_its_norm_computes_with_them(folder, images, buckets, norms):
    new = both(norms=norms)
    initial_weights.take(new, folder)
    expected = dual.load(folder)
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in new.state_dict().items())
    with torch.no_grad():
        for one, other in zip(new.eval()(images, buckets), expected(images, buckets), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("stored", "own"), [({}, {"tau": 0.3}), ({"tau": 0.7}, {}), ({"tau": 0.7}, {"tau": 0.3})])
def test_learned_temperatures_are_those_of_the_configuration(tmp_path, stored, own):
    def model(learned):
        return dual.DualEncoder(image.build(None, RESNET, "stage2", "stage3", WIDTH), both().text, learned)

    old, new = model(stored), model(own)
    dual.save(tmp_path, old.describe(), old.state_dict())
    initial_weights.take(new, tmp_path)
    assert torch.equal(new.image.to_global.weight, old.image.to_global.weight)
    assert ([] if new.loss_scalars is None else new.loss_scalars.tolist()) == pytest.approx(list(own.values()))


def tower(**more):
    return text.build(None, BERT | {"max_position_embeddings": 32} | more, 40, 4)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (lambda: both(norms="group"), r"norm batch not group"),
        (lambda: both(coordinates=True), "coordinates False not True"),
        (lambda: both(fused_stages=["stage1"]), r"fused_stages \[\] not \['stage1'\]"),
        (lambda: dual.DualEncoder(both().image, tower(num_attention_heads=4)), "text.num_attention_heads 2 not 4"),
        (lambda: dual.DualEncoder(both().image, text.build(None, BERT, 33, 4)), "text.vocab_size 40 not 33"),
    ],
)
def test_other_towers_are_refused_even_where_their_weights_would_fit(folder, new, message):
    with pytest.raises(WeightsError, match=f"model.start: .*run has other towers \\(.*{message}"):
        initial_weights.take(new(), folder)


def test_another_dropout_is_no_other_tower(folder):
    new = dual.DualEncoder(both().image, tower(hidden_dropout_prob=0.3))
    initial_weights.take(new, folder)
    assert new.text.bert.config.hidden_dropout_prob == 0.3


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(WeightsError, match="no trained model"):
        initial_weights.take(both(), tmp_path)
