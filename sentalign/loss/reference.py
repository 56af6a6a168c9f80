"""The four terms of docs/method.md, equation by equation, in one process: the specification of the fast path.

In: features of B images and B reports. Out: the terms as scalars. No ranks, no chunks, no shortcuts here. Scores come
first (functions of images and reports), then the contrast over a whole batch of scores.
"""

# I images, J reports (I = J = B where a loss is taken), R regions, K units (k = 0 is [CLS]), D width
# U columns of a contrast: reports, or single units (j, k) in that order
# v regions, t units, g image vectors, q report vectors, as in docs/method.md

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign.loss import targets
from sentalign.loss.targets import PairMask, ReportIds

EPSILON = 1e-8
Scalar = float | Tensor


@dataclass(frozen=True)
class LossConfig:
    """Attention, aggregation of units, objective, targets and temperatures.

    Temperatures and biases may be tensors of one element, learned ones. T1, T2 and T3 are the paper's. The temperature
    of the contrast is that of the attention where it is None.
    """

    attention: Literal["paper", "cosine"] = "paper"
    aggregate: Literal["lse", "sentence"] = "lse"
    objective: Literal["softmax", "sigmoid"] = "softmax"
    targets: Literal["own", "multi", "mask"] = "own"
    sentence_twins: Literal["keep", "drop", "soft"] = "keep"
    t1: Scalar = 4.0
    t2: Scalar = 5.0
    t3: Scalar = 10.0
    tau: Scalar = 0.1
    tau_contrast: Scalar | None = None
    bias_global: Scalar = -10.0
    bias_local: Scalar = -40.0

    @property
    def tau_c(self) -> Scalar:
        """The temperature of the contrast of single sentences."""
        return self.tau if self.tau_contrast is None else self.tau_contrast


Contrast = Callable[[Tensor, PairMask, LossConfig, Scalar], tuple[Tensor, Tensor]]


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """cos(x, y) = <x, y> / max(|x||y|, 1e-8) over the last dimension."""
    return (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1)).clamp(min=EPSILON)


def paper_attention(v_IRD: Tensor, t_JKD: Tensor, present_JK: Tensor, t1: Scalar) -> Tensor:
    """a_ijkr: where in image i unit k of report j looks; sums to 1 over the regions.

    e_rk = <v_ir, t_jk>;  p_rk = softmax over the units k of e_rk;  a_rk = softmax over the regions r of T1 p_rk.
    """
    e_IJKR = torch.einsum("ird,jkd->ijkr", v_IRD, t_JKD)
    p_IJKR = e_IJKR.masked_fill(~present_JK[None, :, :, None], float("-inf")).softmax(dim=2)
    return (t1 * p_IJKR).softmax(dim=3)


def cosine_attention(u_IRD: Tensor, s_JKD: Tensor, tau: Scalar) -> Tensor:
    """a = softmax over the regions of <u, s> / tau, of unit vectors u = v/|v|, s = t/|t|."""
    return (torch.einsum("ird,jkd->ijkr", u_IRD, s_JKD) / tau).softmax(dim=3)


def unit_scores(v_IRD: Tensor, t_JKD: Tensor, present_JK: Tensor, config: LossConfig) -> Tensor:
    """cos(c_ijk, t_jk) with c_k = sum_r a_rk v_ir; v and t are unit vectors under cosine attention."""
    if config.attention == "cosine":
        v_IRD, t_JKD = F.normalize(v_IRD, dim=-1, eps=EPSILON), F.normalize(t_JKD, dim=-1, eps=EPSILON)
        a_IJKR = cosine_attention(v_IRD, t_JKD, config.tau)
    else:
        a_IJKR = paper_attention(v_IRD, t_JKD, present_JK, config.t1)
    return cosine(torch.einsum("ijkr,ird->ijkd", a_IJKR, v_IRD), t_JKD[None])


def report_scores(scores_IJK: Tensor, weight_IJK: Tensor, t2: Scalar) -> Tensor:
    """Z_ij = log sum_k w_ijk exp(T2 cos(c_k, t_jk)); 0 where no unit has a weight."""
    none_IJ = (weight_IJK == 0).all(dim=2)
    # A sum over something keeps the gradient finite where there is no unit; its value is not used.
    weight_IJK = weight_IJK.masked_fill(none_IJ[:, :, None], 1)
    return (t2 * scores_IJK + weight_IJK.log()).logsumexp(dim=2).masked_fill(none_IJ, 0)


def softmax_contrast(scores_IU: Tensor, mask: PairMask) -> tuple[Tensor, Tensor]:
    """Multi-positive cross entropies of the logits over rows, L(t|v), and over columns, L(v|t).

    row_i = log sum_u w_u exp(S_iu) - sum_u w_u P_iu S_iu / sum_u w_u P_iu over the pairs that are kept, the mean over
    the rows that have one; columns likewise over images, weighted by w_u. Without duplicates and weights both are the
    plain cross entropy.
    """
    rows, columns = mask.kept_IU.any(dim=1).nonzero()[:, 0], mask.kept_IU.any(dim=0).nonzero()[:, 0]
    if not len(rows):
        return scores_IU.sum() * 0, scores_IU.sum() * 0
    scores_IU, kept_IU = scores_IU[rows][:, columns], mask.kept_IU[rows][:, columns]
    positive_IU, weight_U = (mask.positive_IU[rows][:, columns] & kept_IU).to(scores_IU), mask.weight_U[columns]
    weight_U = weight_U.to(scores_IU)
    logits_IU, known_IU = scores_IU.masked_fill(~kept_IU, float("-inf")), scores_IU.masked_fill(~kept_IU, 0)
    share_IU = positive_IU * weight_U
    rows_I = (logits_IU + weight_U.log()).logsumexp(1) - (share_IU * known_IU).sum(1) / share_IU.sum(1)
    columns_U = logits_IU.logsumexp(0) - (positive_IU * known_IU).sum(0) / positive_IU.sum(0)
    return rows_I.mean(), (weight_U * columns_U).sum() / weight_U.sum()


def sigmoid_contrast(scores_IU: Tensor, mask: PairMask, bias: Scalar) -> tuple[Tensor, Tensor]:
    """The pairwise sigmoid loss sum_iu w_u log(1 + exp(-y_iu (S_iu + b))) / sum_u w_u, y = 2P - 1 (arXiv 2303.15343).

    It has one direction only, so each of the two terms is half of it.
    """
    weight_U, label_IU = mask.weight_U.to(scores_IU), 2 * mask.positive_IU.to(scores_IU) - 1
    losses_IU = F.softplus(-label_IU * (scores_IU.masked_fill(~mask.kept_IU, 0) + bias)) * mask.kept_IU
    half = 0.5 * (losses_IU * weight_U).sum() / weight_U.sum().clamp(min=EPSILON)
    return half, half


def contrast(scores_IU: Tensor, mask: PairMask, config: LossConfig, bias: Scalar) -> tuple[Tensor, Tensor]:
    """L(t|v) and L(v|t) of scaled scores by the configured objective."""
    if config.objective == "sigmoid":
        return sigmoid_contrast(scores_IU, mask, bias)
    return softmax_contrast(scores_IU, mask)


def sentence_likeness(t_JKD: Tensor, weight_JK: Tensor) -> Tensor:
    """s_ijk in [0, 1]: the largest cos(t_il, t_jk) over the sentences l of report i with a weight; no gradient.

    0 where report i has none, and of [CLS].
    """
    cosines_IKJK = cosine(t_JKD[:, :, None, None], t_JKD[None, None]).detach()
    counted_IK = (weight_JK > 0).index_fill(1, torch.tensor(0, device=t_JKD.device), False)
    likeness_IJK = cosines_IKJK.masked_fill(~counted_IK[:, :, None, None], 0).amax(dim=1).clamp(0, 1)
    return likeness_IJK.index_fill(2, torch.tensor(0, device=t_JKD.device), 0)


class PairScores(NamedTuple):
    """Images against the units and against the vectors of reports, unscaled cosines, and whose they are.

    `likeness_IJK` is `sentence_likeness`, needed where `sentence_twins` is soft.
    """

    local_IJK: Tensor
    global_IJ: Tensor
    images: ReportIds
    reports: ReportIds
    own_IJ: Tensor
    likeness_IJK: Tensor | None = None


def contrast_terms(scores: PairScores, config: LossConfig, contrast: Contrast = contrast) -> dict[str, Tensor]:
    """The unweighted terms {local_tv, local_vt, global_tv, global_vt}; `tv` is L(t|v): which text, given the image."""
    mask = targets.pair_mask(scores.images, scores.reports, scores.own_IJ, config.targets)
    local = contrast(*local_logits(scores, mask, config), config, config.bias_local)
    whole = contrast(config.t3 * scores.global_IJ, mask, config, config.bias_global)
    return {"local_tv": local[0], "local_vt": local[1], "global_tv": whole[0], "global_vt": whole[1]}


def local_logits(scores: PairScores, mask: PairMask, config: LossConfig) -> tuple[Tensor, PairMask]:
    """Logits of images against columns: T3 Z against reports, or cos / tau_c against single units; and their mask.

    A pair of which no unit has a weight is left out.
    """
    weight_IJK = targets.pair_weights(scores.images, scores.reports, scores.own_IJ, config.sentence_twins)
    weight_IJK = weight_IJK.to(scores.local_IJK)
    twin_IJK = None
    if config.sentence_twins == "soft":
        assert scores.likeness_IJK is not None
        twin_IJK = targets.twin_weights(scores.images, scores.reports, mask.positive_IU, scores.likeness_IJK)
        weight_IJK = weight_IJK * twin_IJK
    kept_IJK, weight_JK = mask.kept_IU[:, :, None] & (weight_IJK > 0), scores.reports.weight_JK
    if config.aggregate == "lse":
        logits_IJ = config.t3 * report_scores(scores.local_IJK, weight_IJK, config.t2)
        return logits_IJ, PairMask(mask.positive_IU, kept_IJK.any(dim=2), weight_JK.gt(0).any(dim=1).float())
    positive_IJK = mask.positive_IU[:, :, None].expand_as(kept_IJK)
    units = PairMask(positive_IJK.flatten(1), kept_IJK.flatten(1), weight_JK.flatten())
    logits_IJK = scores.local_IJK / config.tau_c
    if twin_IJK is not None:  # f exp(S) = exp(S + log f); where f is 0 the pair is left out, and needs a finite logit
        logits_IJK = logits_IJK + twin_IJK.clamp(min=EPSILON**2).log()
    return logits_IJK.flatten(1), units


def four_terms(
    v_BRD: Tensor, g_BD: Tensor, t_BKD: Tensor, present_BK: Tensor, q_BD: Tensor, config: LossConfig, ids: ReportIds
) -> dict[str, Tensor]:
    """The terms of a whole batch, from the features of its images and reports."""
    local_BBK, own_BB = unit_scores(v_BRD, t_BKD, present_BK, config), torch.eye(len(q_BD), device=q_BD.device).bool()
    likeness_BBK = sentence_likeness(t_BKD, ids.weight_JK) if config.sentence_twins == "soft" else None
    global_BB = cosine(g_BD[:, None], q_BD[None])
    return contrast_terms(PairScores(local_BBK, global_BB, ids, ids, own_BB, likeness_BBK), config)


def unit_scale(config: LossConfig) -> Scalar:
    """By what the score of a unit becomes a logit: 1 / tau_c of single units, T2 T3 of a report of that unit alone."""
    if config.aggregate == "lse":
        return config.t2 * config.t3
    return 1 / config.tau_c


def total(terms: dict[str, Tensor], weight_global: float = 1.0, weight_local: float = 1.0) -> Tensor:
    """L = w_g (L_g(v|t) + L_g(t|v)) + w_l (L_l(v|t) + L_l(t|v))."""
    return weight_global * (terms["global_vt"] + terms["global_tv"]) + weight_local * (
        terms["local_vt"] + terms["local_tv"]
    )
