"""The text tower: a report becomes its [CLS] vector, one vector a sentence and a report vector.

In: tokens, and which unit each position belongs to: a sentence, or a word. Out: packed units and report vectors, by the
word and sentence rules of docs/method.md (paper mode, text side). The tokenizer is in sentalign.tokenizer.
"""

# B reports of a batch, b rows of a bucket, E sentences that are rows of their own, T positions, K units with padding
# (the [CLS] vector, then sentences or words), M units of the batch without padding (report by report), D width

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn

from sentalign.model.pretrained import WeightsError, backbone_config, load


class TextBucket(NamedTuple):
    """Some reports of a batch, or single sentences of them, padded to their own width."""

    tokens_bT: Tensor
    attention_bT: Tensor  # bool: a real position
    unit_bT: Tensor  # the packed unit of each position, M for [SEP] and padding
    row_b: Tensor  # the row of each report in the batch, B for a sentence
    words_M: Tensor  # words of each unit of the batch
    words_B: Tensor  # words of each report of the batch


class TextTower(nn.Module):
    """BERT whose last hidden layers are summed; no projection."""

    def __init__(self, bert: Any, last_layers: int) -> None:
        super().__init__()
        self.bert: Any = bert
        self.last_layers = last_layers

    def forward(self, bucket: TextBucket) -> tuple[Tensor, Tensor]:
        """Packed units (M, D) and report vectors (B, D) of the batch, zero for reports outside the bucket.

        Word pieces are summed to words and a sentence is the mean of its words, which is the sum of its pieces over
        its number of words; likewise the report over all real positions, [CLS] and [SEP] being words.
        """
        out = self.bert(
            input_ids=bucket.tokens_bT, attention_mask=bucket.attention_bT.long(), output_hidden_states=True
        )
        # hidden_states[0] is the embedding, not a layer.
        pieces_bTD = torch.stack(out.hidden_states[1:][-self.last_layers :]).sum(dim=0)
        sums_MD = pieces_bTD.new_zeros(len(bucket.words_M) + 1, pieces_bTD.shape[2]).index_add(
            0, bucket.unit_bT.flatten(), pieces_bTD.flatten(0, 1)
        )[:-1]
        sums_bD = (pieces_bTD * bucket.attention_bT.unsqueeze(-1)).sum(dim=1)
        empty_BD = sums_bD.new_zeros(len(bucket.words_B) + 1, sums_bD.shape[1])
        sums_BD = empty_BD.index_add(0, bucket.row_b, sums_bD)[:-1]
        return sums_MD / bucket.words_M[:, None], sums_BD / bucket.words_B[:, None]


def buckets(
    tokens_BT: Tensor,
    attention_BT: Tensor,
    unit_id_BT: Tensor,
    word_counts_BK: Tensor,
    present_BK: Tensor,
    order_B: Tensor | None = None,
    widths: Sequence[int] = (),
    alone_E3: Tensor | None = None,
    alone_widths: Sequence[int] = (),
) -> list[TextBucket]:
    """The batch in length buckets: bucket i has the rows of piece i of `order_B`, padded to `widths[i]` positions.

    With `alone_E3`, rows of (report, first position, positions), sentences are encoded alone, as [CLS] s [SEP], in
    further buckets: the equal pieces of its rows, padded to `alone_widths`. Of the reports themselves [CLS] and the
    report vector are left.

    word_counts_BK are the words of the whole row at k = 0 and of each unit after; present_BK marks real units.

    The sums of the tower's outputs over the buckets equal its outputs for one bucket but for the drawn dropout.
    """
    words_BK = word_counts_BK.clone()
    words_BK[:, 0] = 1  # [CLS] alone
    words_M = words_BK[present_BK]
    unit_BK = (present_BK.flatten().cumsum(0).view_as(present_BK) - 1).masked_fill(~present_BK, len(words_M))
    unit_BT = unit_BK.gather(1, unit_id_BT + 1)  # -1 is [CLS] at position 0, else no unit
    unit_BT[:, 1:] = unit_BT[:, 1:].masked_fill(unit_id_BT[:, 1:] < 0, len(words_M))
    rows_B = torch.arange(len(tokens_BT), device=tokens_BT.device) if order_B is None else order_B
    widths = widths or [tokens_BT.shape[1]]
    # Sorted rows: one bucket is the batch in its own order.
    parts = [part.sort().values for part in rows_B.tensor_split(len(widths))]
    of_batch = words_M, word_counts_BK[:, 0]
    sentences = []
    if alone_E3 is not None:
        pieces = zip(alone_E3.tensor_split(len(alone_widths)), alone_widths, strict=True)
        sentences = [_alone(tokens_BT, attention_BT, unit_BT, spans, width, *of_batch) for spans, width in pieces]
        unit_BT = torch.cat([unit_BT[:, :1], torch.full_like(unit_BT[:, 1:], len(words_M))], dim=1)
    return [
        TextBucket(tokens_BT[b, :width], attention_BT[b, :width], unit_BT[b, :width], b, *of_batch)
        for b, width in zip(parts, widths, strict=True)
    ] + sentences


def _alone(
    tokens_BT: Tensor,
    attention_BT: Tensor,
    unit_BT: Tensor,
    spans_b3: Tensor,
    width: int,
    words_M: Tensor,
    words_B: Tensor,
) -> TextBucket:
    """Sentences between the [CLS] and the [SEP] of their reports, of which no further position is left."""
    row_b1, begin_b1, pieces_b1 = spans_b3.split(1, dim=1)
    place_bT = torch.arange(width, device=tokens_BT.device).expand(len(spans_b3), -1)
    inside_bT = (place_bT > 0) & (place_bT <= pieces_b1)
    sep_b1 = attention_BT.sum(dim=1)[row_b1] - 1
    source_bT = torch.where(inside_bT, begin_b1 + place_bT - 1, sep_b1).masked_fill(place_bT == 0, 0)
    unit_bT = unit_BT[row_b1, source_bT].masked_fill(~inside_bT, len(words_M))
    no_report_b = torch.full_like(row_b1[:, 0], len(words_B))
    return TextBucket(tokens_BT[row_b1, source_bT], place_bT <= pieces_b1 + 1, unit_bT, no_report_b, words_M, words_B)


def build(weights: str | None, settings: dict[str, Any], vocabulary_size: int, last_layers: int) -> TextTower:
    """The tower with pretrained (`weights`) or random BERT. Raises WeightsError."""
    if weights is not None:
        bert = load(transformers.BertModel, weights, "model.text.weights", add_pooling_layer=False)
        if bert.config.vocab_size < vocabulary_size:
            raise WeightsError(
                f"model.text: the vocabulary has {vocabulary_size} pieces, the weights only {bert.config.vocab_size}; "
                "set model.text.vocabulary to the one that belongs to the weights"
            )
    else:
        if (kind := settings.get("model_type", "bert")) != "bert":
            raise WeightsError(f"model.text.backbone takes the settings of a bert, not of a {kind}")
        config: Any = backbone_config({"vocab_size": vocabulary_size} | settings, "bert")
        bert = _words_first(transformers.BertModel(config, add_pooling_layer=False))
    return TextTower(bert, last_layers)


@torch.no_grad()
def _words_first(bert: Any) -> Any:
    """Makes the embeddings of a new BERT start with the words: token types at 0, positions at a tenth.

    At equal sizes two thirds of each embedding are the same in all sentences. Their vectors then start almost equal
    (mean cosines of .89 against .26 in the demo), and in the runs that were compared the loss left chance later.
    """
    bert.embeddings.token_type_embeddings.weight.zero_()
    bert.embeddings.position_embeddings.weight.mul_(0.1)
    return bert


def from_config(config: Any, last_layers: int) -> TextTower:
    """The tower without weights, from the BERT configuration that a run folder keeps."""
    return TextTower(transformers.BertModel(config, add_pooling_layer=False), last_layers)
