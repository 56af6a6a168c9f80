"""The four terms of METHOD, equation by equation, in one process: the specification of every fast path.

In: features of B images and B reports. Out: the terms as scalars. No ranks, no chunks, no tricks here. Scores come
first (functions of images and reports), then the contrast over a whole batch of scores.
"""

# I images, J reports (I = J = B where a loss is taken), R regions, K units (k = 0 is [CLS]), D width
# U columns of a contrast: reports, or single units (j, k) in that order
# v regions, t units, g image vectors, q report vectors, as in METHOD

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign.loss.targets import ReportIds, alike, plain, twins

EPSILON = 1e-8
Number = float | Tensor


@dataclass(frozen=True)
class LossConfig:
    """Which attention, how units make a report's score, which objective, which targets, and the temperatures.

    METHOD: T1 = 4, T2 = 5, T3 = 10. Temperatures and biases may be tensors of one element, learned ones.
    """

    attention: Literal["paper", "cosine"] = "paper"
    aggregate: Literal["lse", "sentence"] = "lse"
    objective: Literal["softmax", "sigmoid"] = "softmax"
    targets: Literal["own", "multi", "mask"] = "own"
    sentence_twins: Literal["keep", "drop"] = "keep"
    t1: Number = 4.0
    t2: Number = 5.0
    t3: Number = 10.0
    tau: Number = 0.1
    bias_global: Number = -10.0
    bias_local: Number = -40.0


class PairMask(NamedTuple):
    """Images against columns (reports, or single units): what each pair is, and what each row and column counts."""

    positive_IU: Tensor  # bool: P, the partners
    kept_IU: Tensor  # bool: takes part at all
    counted_I: Tensor  # bool: the row takes part
    weight_U: Tensor  # of the column, 0: it takes no part

    def among(self, there_IU: Tensor) -> PairMask:
        """The same without the pairs that are not there."""
        return self._replace(positive_IU=self.positive_IU & there_IU, kept_IU=self.kept_IU & there_IU)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """cos(x, y) = <x, y> / max(|x||y|, 1e-8) over the last dimension."""
    return (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1)).clamp(min=EPSILON)


def paper_attention(v_IRD: Tensor, t_JKD: Tensor, present_JK: Tensor, t1: Number) -> Tensor:
    """a_ijkr: where in image i unit k of report j looks; sums to 1 over the regions.

    e_rk = <v_ir, t_jk>;  p_rk = softmax over the units k of e_rk;  a_rk = softmax over the regions r of T1 p_rk.
    """
    e_IJKR = torch.einsum("ird,jkd->ijkr", v_IRD, t_JKD)
    p_IJKR = e_IJKR.masked_fill(~present_JK[None, :, :, None], float("-inf")).softmax(dim=2)
    return (t1 * p_IJKR).softmax(dim=3)


def cosine_attention(u_IRD: Tensor, s_JKD: Tensor, tau: Number) -> Tensor:
    """a = softmax over the regions of <u, s> / tau, of unit vectors u = v/|v|, s = t/|t| (METHOD: cosine attention)."""
    return (torch.einsum("ird,jkd->ijkr", u_IRD, s_JKD) / tau).softmax(dim=3)


def unit_scores(v_IRD: Tensor, t_JKD: Tensor, present_JK: Tensor, terms: LossConfig) -> Tensor:
    """cos(c_ijk, t_jk) with c_k = sum_r a_rk v_ir; v and t are unit vectors under cosine attention."""
    if terms.attention == "cosine":
        v_IRD, t_JKD = F.normalize(v_IRD, dim=-1, eps=EPSILON), F.normalize(t_JKD, dim=-1, eps=EPSILON)
        a_IJKR = cosine_attention(v_IRD, t_JKD, terms.tau)
    else:
        a_IJKR = paper_attention(v_IRD, t_JKD, present_JK, terms.t1)
    c_IJKD = torch.einsum("ijkr,ird->ijkd", a_IJKR, v_IRD)
    return cosine(c_IJKD, t_JKD[None])


def image_report_scores(g_ID: Tensor, q_JD: Tensor) -> Tensor:
    """cos(g_i, q_j); the scale T3 comes with the cross entropy."""
    return cosine(g_ID[:, None], q_JD[None])


def report_scores(unit_scores_IJK: Tensor, weight_IJK: Tensor, t2: Number) -> Tensor:
    """Z_ij = log sum_k w_ijk exp(T2 cos(c_k, t_jk)); 0 where no unit has a weight."""
    none_IJ = (weight_IJK == 0).all(dim=2)
    # Where there is no unit, a sum over something keeps the gradient finite; its value is thrown away.
    weight_IJK = weight_IJK.masked_fill(none_IJ[:, :, None], 1)
    return (t2 * unit_scores_IJK + weight_IJK.log()).logsumexp(dim=2).masked_fill(none_IJ, 0)


def pairs(alike_IJ: Tensor, own_IJ: Tensor, valid_I: Tensor, valid_J: Tensor, terms: LossConfig) -> PairMask:
    """What the targets make of image-report pairs (METHOD: duplicate-aware targets, `targets`)."""
    positive_IJ = alike_IJ if terms.targets == "multi" else own_IJ
    kept_IJ = valid_I[:, None] & valid_J[None]
    if terms.targets == "mask":
        kept_IJ = kept_IJ & (own_IJ | ~alike_IJ)
    return PairMask(positive_IJ & kept_IJ, kept_IJ, valid_I, valid_J.float())


def softmax_both_ways(scores_IU: Tensor, of: PairMask) -> tuple[Tensor, Tensor]:
    """Multi-positive cross entropies of the logits over rows, L(t|v), and over columns, L(v|t).

    row_i = log sum_u w_u exp(S_iu) - sum_u w_u P_iu S_iu / sum_u w_u P_iu over the pairs that are kept, the mean over
    the rows that count; columns likewise over images, weighted by w_u. Without duplicates and weights both are plain.
    """
    rows, columns = of.counted_I.nonzero()[:, 0], of.weight_U.nonzero()[:, 0]
    if not len(rows) or not len(columns):
        return scores_IU.sum() * 0, scores_IU.sum() * 0
    scores_IU, kept_IU = scores_IU[rows][:, columns], of.kept_IU[rows][:, columns]
    positive_IU, weight_U = of.positive_IU[rows][:, columns].to(scores_IU.dtype), of.weight_U[columns].to(scores_IU)
    logits_IU = scores_IU.masked_fill(~kept_IU, float("-inf"))
    known_IU = scores_IU.masked_fill(~kept_IU, 0)
    share_IU = positive_IU * weight_U
    rows_I = (logits_IU + weight_U.log()).logsumexp(1) - (share_IU * known_IU).sum(1) / share_IU.sum(1)
    columns_U = logits_IU.logsumexp(0) - (positive_IU * known_IU).sum(0) / positive_IU.sum(0)
    return rows_I.mean(), (weight_U * columns_U).sum() / weight_U.sum()


def sigmoid_both_ways(scores_IU: Tensor, of: PairMask, bias: Number) -> tuple[Tensor, Tensor]:
    """The pairwise sigmoid loss sum_iu w_u log(1 + exp(-y_iu (S_iu + b))) / sum_u w_u, y = 2P - 1 (arXiv 2303.15343).

    It has one direction only, so that each of the two terms is half of it.
    """
    sign_IU = 2 * of.positive_IU.to(scores_IU.dtype) - 1
    weight_U = of.weight_U.to(scores_IU)
    each_IU = F.softplus(-sign_IU * (scores_IU.masked_fill(~of.kept_IU, 0) + bias)) * of.kept_IU
    half = 0.5 * (each_IU * weight_U).sum() / weight_U.sum().clamp(min=EPSILON)
    return half, half


def both_ways(scores_IU: Tensor, of: PairMask, terms: LossConfig, bias: Number) -> tuple[Tensor, Tensor]:
    """L(t|v) and L(v|t) of scaled scores by the objective that is asked for."""
    return sigmoid_both_ways(scores_IU, of, bias) if terms.objective == "sigmoid" else softmax_both_ways(scores_IU, of)


def local_scores(
    units_IJK: Tensor, own_IJ: Tensor, twins_IJK: Tensor, marks: ReportIds, terms: LossConfig
) -> tuple[Tensor, Tensor]:
    """Logits of images against columns, T3 Z against reports or cos / tau against single units, and which there are.

    `sentence_twins` = drop: unit k of another's report j that image i's own report says too is left out; a pair of
    which nothing is left is not there.
    """
    weight_IJK = marks.weight_JK.to(units_IJK)[None].expand_as(units_IJK)
    if terms.sentence_twins == "drop":
        weight_IJK = weight_IJK.masked_fill(twins_IJK & ~own_IJ[:, :, None], 0)
    if terms.aggregate == "lse":
        return terms.t3 * report_scores(units_IJK, weight_IJK, terms.t2), (weight_IJK > 0).any(dim=2)
    return (units_IJK / terms.tau).flatten(1), (weight_IJK > 0).flatten(1)


def contrast(units_BBK: Tensor, global_BB: Tensor, marks: ReportIds, terms: LossConfig) -> dict[str, Tensor]:
    """The unweighted terms {local_tv, local_vt, global_tv, global_vt}; `tv` is L(t|v): which text, given the image."""
    alike_BB, own_BB = alike(marks, marks), torch.eye(len(global_BB), dtype=torch.bool, device=global_BB.device)
    all_B = own_BB.any(dim=0)
    scores_BU, there_BU = local_scores(units_BBK, own_BB, twins(marks, marks), marks, terms)
    valid_B = (marks.weight_JK > 0).any(1)
    of = pairs(alike_BB, own_BB, valid_B, valid_B, terms)
    of = (of_units(of, marks) if terms.aggregate == "sentence" else of).among(there_BU)
    local = both_ways(scores_BU, of, terms, terms.bias_local)
    of = pairs(alike_BB, own_BB, all_B, all_B, terms)
    whole = both_ways(terms.t3 * global_BB, of, terms, terms.bias_global)
    return {"local_tv": local[0], "local_vt": local[1], "global_tv": whole[0], "global_vt": whole[1]}


def of_units(of: PairMask, marks: ReportIds) -> PairMask:
    """Image-report pairs as pairs of images with single units, (I, J·K)."""
    units = marks.weight_JK.shape[1]
    return PairMask(
        of.positive_IU.repeat_interleave(units, dim=1),
        of.kept_IU.repeat_interleave(units, dim=1),
        of.counted_I,
        marks.weight_JK.flatten(),
    )


def four_terms(
    v_BRD: Tensor,
    g_BD: Tensor,
    t_BKD: Tensor,
    present_BK: Tensor,
    q_BD: Tensor,
    terms: LossConfig,
    marks: ReportIds | None = None,
) -> dict[str, Tensor]:
    """The terms of a whole batch, from the features of its images and reports."""
    units_BBK = unit_scores(v_BRD, t_BKD, present_BK, terms)
    return contrast(units_BBK, image_report_scores(g_BD, q_BD), marks or plain(present_BK), terms)


def total(terms: dict[str, Tensor], weight_global: float = 1.0, weight_local: float = 1.0) -> Tensor:
    """L = w_g (L_g(v|t) + L_g(t|v)) + w_l (L_l(v|t) + L_l(t|v))."""
    return weight_global * (terms["global_vt"] + terms["global_tv"]) + weight_local * (
        terms["local_vt"] + terms["local_tv"]
    )
