"""The text tower: a report becomes its [CLS] vector, one vector a sentence and a report vector.

In: token numbers and which sentence each position belongs to. Out: units and report vectors, by the word and sentence
rules of METHOD (paper mode, text side). The tokenizer is in sentalign.text.
"""

# B reports, T positions, K units (the [CLS] vector, then the sentences), D width

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from sentalign.model.pretrained import WeightsError, backbone_config, load


class TextTower(nn.Module):
    """BERT whose last hidden layers are summed; no projection."""

    def __init__(self, bert: Any, last_layers: int) -> None:
        super().__init__()
        self.bert: Any = bert
        self.last_layers = last_layers

    def forward(
        self, tokens_BT: Tensor, attention_BT: Tensor, sentence_id_BT: Tensor, word_counts_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Units (B, K, D), absent ones zero, and report vectors (B, D).

        Word pieces are summed to words and a sentence is the mean of its words, which is the sum of its pieces over
        its number of words; likewise the report over all real positions, [CLS] and [SEP] being words.
        """
        out = self.bert(input_ids=tokens_BT, attention_mask=attention_BT.long(), output_hidden_states=True)
        # hidden_states[0] is the embedding, not a layer.
        pieces_BTD = torch.stack(out.hidden_states[1:][-self.last_layers :]).sum(dim=0)
        belongs_BKT = sentence_id_BT.unsqueeze(1) == torch.arange(
            word_counts_BK.shape[1] - 1, device=sentence_id_BT.device
        ).view(1, -1, 1)
        sums_BKD = belongs_BKT.to(pieces_BTD.dtype) @ pieces_BTD
        sentences_BKD = sums_BKD / word_counts_BK[:, 1:].clamp(min=1).unsqueeze(-1)
        units_BKD = torch.cat([pieces_BTD[:, :1], sentences_BKD], dim=1)
        total_BD = (pieces_BTD * attention_BT.unsqueeze(-1)).sum(dim=1)
        return units_BKD, total_BD / word_counts_BK[:, :1]


def in_buckets(
    tower: TextTower,
    tokens_BT: Tensor,
    attention_BT: Tensor,
    sentence_id_BT: Tensor,
    word_counts_BK: Tensor,
    order_B: Tensor,
    widths: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """What the tower makes of the rows, padded piece by piece: piece i of `order_B` to `widths[i]` positions.

    Equal to the tower on all rows at once but for the dropout that is drawn.
    """
    pieces = [
        tower(tokens_BT[rows, :width], attention_BT[rows, :width], sentence_id_BT[rows, :width], word_counts_BK[rows])
        for rows, width in zip(order_B.tensor_split(len(widths)), widths, strict=True)
    ]
    units_BKD, report_BD = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    back_B = order_B.argsort()
    return units_BKD[back_B], report_BD[back_B]


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
        bert = transformers.BertModel(config, add_pooling_layer=False)
    return TextTower(bert, last_layers)


def from_config(config: Any, last_layers: int) -> TextTower:
    """The tower without weights, from the BERT configuration that a run folder keeps."""
    return TextTower(transformers.BertModel(config, add_pooling_layer=False), last_layers)
