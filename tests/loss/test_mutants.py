"""Mutants of the duplicate-aware rules: the comparison with the oracle kills each of them.

A mutant is a copy of the loss modules and of the stream's batch in which one piece of source is replaced.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.loss import duplicates
from tests.loss.duplicates import COMBINATIONS

# rule -> module, source, mutated source
MUTANTS = {
    "a report is like itself only": (
        "targets",
        "return same_study | same_text",
        "return same_study & torch.eye(len(same_study), dtype=torch.bool)",
    ),
    "the same study is forgotten": (
        "targets",
        "return same_study | same_text",
        "return same_text | torch.eye(len(same_text), dtype=torch.bool)",
    ),
    "equal texts are forgotten": ("targets", "return same_study | same_text", "return same_study"),
    "empty reports have equal texts": (
        "batch",
        "_int64(_sha256(*sample.hashes)) if sample.hashes else 0",
        "_int64(_sha256(*sample.hashes))",
    ),
    "reports without text are equal": (
        "targets",
        " & (reports.report_J != 0)[None]\n    return same",
        "\n    return same",
    ),
    "texts are equal in any order": ("batch", "_sha256(*sample.hashes)", "_sha256(*sorted(sample.hashes))"),
    "texts are those of the drawn sentences": (
        "batch",
        "_int64(_sha256(*sample.hashes)) if sample.hashes else 0 for sample in samples",
        "_int64(_sha256(*[sample.hashes[n] for n in c])) if c else 0 for sample, c in zip(samples, chosen)",
    ),
    "no sentence is shared": ("targets", "return shared_IJK & ", "return shared_IJK & False & "),
    "every sentence is shared": ("targets", "return shared_IJK & ", "return shared_IJK | "),
    "[CLS] is shared": ("targets", "return shared_IJK & (unit_JK != 0)[None]", "return shared_IJK"),
    "sentences that were not drawn are not shared": (
        "targets",
        "in images.sentence_hash_JS.unbind(1)",
        "in images.unit_hash_JK.unbind(1)",
    ),
    "w_CLS is the smallest": (
        "targets",
        "sentences_JK.amax(dim=1)",
        "sentences_JK.masked_fill(~present_JK[:, 1:], 1).amin(dim=1)",
    ),
    "w_CLS is one": ("targets", "sentences_JK.amax(dim=1)", "1.0"),
    "the last tag decides": ("targets", "weight_JK.clamp(max=weight)", "torch.full_like(weight_JK, weight)"),
    "tags have no weight": ("targets", "weight_JK.clamp(max=weight)", "weight_JK"),
    "multi is treated as own": ("targets", 'same_IJ if targets == "multi" else own_IJ', "own_IJ"),
    "own is treated as multi": ("targets", 'same_IJ if targets == "multi" else own_IJ', "same_IJ"),
    "the mask is ignored": ("targets", 'if targets == "mask" else', "if False else"),
    "the mask takes partners too": ("targets", "own_IJ | ~same_IJ", "~same_IJ"),
    "reports without weight stay": (
        "targets",
        "reports.weight_JK * images.weight_JK.gt(0).any(dim=1)[:, None, None]",
        "reports.weight_JK.expand(len(own_IJ), -1, -1)",
    ),
    "weights are ignored in Z": (
        "reference",
        "report_scores(scores.local_IJK, weight_IJK,",
        "report_scores(scores.local_IJK, (weight_IJK > 0).to(weight_IJK),",
    ),
    "weights of single units are ignored": (
        "reference",
        "kept_IJK.flatten(1), weight_JK.flatten())",
        "kept_IJK.flatten(1), weight_JK.gt(0).float().flatten())",
    ),
    "the contrast takes the temperature of the attention": (
        "reference",
        "scores.local_IJK / config.tau_c",
        "scores.local_IJK / config.tau",
    ),
    "drop is ignored": ("targets", 'if sentence_twins == "drop":', "if False:"),
    "drop takes the pair's own units": ("targets", "(images, reports) & ~own_IJ[:, :, None]", "(images, reports)"),
    "soft: twins have no weight": ("reference", "weight_IJK * twin_IJK", "weight_IJK * (twin_IJK > 0)"),
    "soft: twins of single units have no weight": ("reference", "logits_IJK + twin_IJK.", "logits_IJK + 0 * twin_IJK."),
    "soft: the weight is not squared": ("targets", "(1 - likeness_IJK).square()", "(1 - likeness_IJK)"),
    "soft: positives are weighted too": ("targets", "weight_IJK.masked_fill(positive_IJ[:, :, None], 1)", "weight_IJK"),
    "soft: the same words are not the same": ("targets", ".masked_fill(shared_sentences(images, reports), 0)", ""),
    "soft: lengths count": ("objective", "F.normalize(units_MD, dim=1, eps=EPSILON)", "units_MD"),
    "soft: the last own sentence decides": (
        "objective",
        "torch.maximum(likeness_bM, s_bD @ s_MD.T, out=likeness_bM)",
        "likeness_bM = (s_bD @ s_MD.T).clamp(min=0)",
    ),
    "soft: own sentences without weight count": (
        "objective",
        "(reports.own.weight_JK > 0)[:, :, None]",
        "reports.present_bK[:, :, None]",
    ),
    "soft: the own [CLS] is a sentence": ("objective", "s_bKD.unbind(1)[1:]", "s_bKD.unbind(1)"),
    "soft: [CLS] is weighted": ("objective", ".index_fill_(1, reports.place_JK[:, 0], 0)", ""),
    "soft: opposed sentences are alike": (
        "objective",
        "s_bD @ s_MD.T, out=likeness_bM)",
        "(s_bD @ s_MD.T).abs(), out=likeness_bM)",
    ),
    "soft by reference: the own [CLS] is a sentence": (
        "reference",
        "(weight_JK > 0).index_fill(1, torch.tensor(0, device=t_JKD.device), False)",
        "weight_JK > 0",
    ),
    "soft by reference: [CLS] is weighted": (
        "reference",
        "likeness_IJK.index_fill(2, torch.tensor(0, device=t_JKD.device), 0)",
        "likeness_IJK",
    ),
    "a pair without a unit stays": ("reference", "kept_IJK.any(dim=2)", "mask.kept_IU"),
    "rows: the mean counts those that left": (
        "contrast",
        "counted_b.sum()[None]]",
        "(counted_b | True).sum()[None]]",
    ),
    "columns: the mean counts those that left": (
        "contrast",
        "(weight_U * columns_U).sum() / weight_U.sum()",
        "(weight_U * columns_U).sum() / torch.ones_like(weight_U).sum()",
    ),
    "columns: weights are ignored": (
        "contrast",
        "(weight_U * columns_U).sum() / weight_U.sum()",
        "columns_U[weight_U > 0].sum() / weight_U.gt(0).sum()",
    ),
    "rows: the weights of negatives are ignored": ("contrast", "torch.where(weight_U > 0, weight_U, 1).log()", "0"),
    "rows: positives are summed, not averaged": ("contrast", "share_bU.sum(dim=1).clamp(min=EPSILON)", "1"),
    "columns: positives are summed, not averaged": ("contrast", " / positives_U.clamp(min=1)", ""),
    "sigmoid: pairs that were left out count": ("contrast", " + bias)) * mask.kept_IU", " + bias))"),
    "sigmoid: weights are ignored": ("contrast", "(losses_bU * weight_U).sum()", "losses_bU.sum()"),
    "sigmoid: all labels are negative": ("contrast", "(1 - 2 * positive_bU) *", "1 *"),
}  # fmt: skip


def killed(project):
    """The first term that is not the oracle's, "" where there is none."""
    cases = itertools.product(COMBINATIONS, ("fast path", "reference"))
    differences = (duplicates.difference(project, path, options, with_gradients=False) for options, path in cases)
    return next(filter(None, differences), "")


@pytest.mark.parametrize("rule", MUTANTS)
def test_the_oracle_kills_the_mutant(rule, copied):
    module, old, new = MUTANTS[rule]
    assert old != new
    project = copied(module, old, new)
    assert new in Path(project.reference.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    assert killed(project), f"nothing notices that {rule}"


def test_the_copy_without_a_mutation_survives(copied):
    assert not killed(copied("targets", "return same_study | same_text", "return same_study | same_text"))
