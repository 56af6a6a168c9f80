"""Reports with left and right swapped, as texts that are compared with the true ones: hard negatives of the training,
and the side margin of validations.

In: samples of a batch's rows. Out: the tokens of the swapped report, and which of its sentences are compared
(docs/method.md, swapped sentences as negatives). The loss is in loss/side_swap.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sentalign.sides import names_one_side, names_side, swap
from sentalign.stream.read.fetch import DecodedSample
from sentalign.tokenizer import Row, Tokenizer
from sharding.contract import text_hash

# "No left effusion" is not false where there is no right one either.
NOT_FALSE = frozenset({"negated", "normal", "non-image"})


@dataclass(frozen=True)
class SwappedReport:
    """The chosen sentences with their sides swapped, and the places in the row of those that are negatives."""

    row: Row
    negatives: list[int]


def swapped_report(
    sample: DecodedSample,
    chosen: Sequence[int],
    is_negative: Callable[[DecodedSample, int], bool],
    tokenizer: Tokenizer,
    max_tokens: int,
) -> SwappedReport | None:
    """The report of the chosen sentences with sides swapped, None where no sentence of it is a negative.

    A sentence that cannot be swapped stays in it as context.
    """
    negatives = [place for place, n in enumerate(chosen) if is_negative(sample, n)]
    if not negatives:
        return None
    texts = [swap(sample.sentences[n]) or sample.sentences[n] for n in chosen]
    return SwappedReport(tokenizer.encode(texts, max_tokens), negatives)


def is_sided_finding(sample: DecodedSample, n: int) -> bool:
    """For validations: whether sentence n, a finding, is another one when swapped."""
    return not sample.tags[n] and names_side(sample.sentences[n])


def is_false(sample: DecodedSample, n: int) -> bool:
    """For training: whether sentence n, swapped, is false of the image.

    It names one side, is no negation, and the report does not say the swapped sentence too.
    """
    text = sample.sentences[n]
    if sample.tags[n] & NOT_FALSE or not names_one_side(text):
        return False
    return text_hash(swap(text) or "") not in sample.hashes
