"""The four terms of METHOD, equation by equation, in one process: the specification of every fast path.

In: features of B images and B reports. Out: the terms as scalars. No ranks, no chunks, no tricks here. Scores come
first (functions of images and reports), then the contrast over a whole batch of scores.
"""

# I images, J reports (I = J = B where a loss is taken), R regions, K units (k = 0 is [CLS]), D width
# v regions, t units, g image vectors, q report vectors, as in METHOD

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8


@dataclass(frozen=True)
class Terms:
    """Which attention, how units make a report's score, and the temperatures (METHOD: T1 = 4, T2 = 5, T3 = 10)."""

    attention: Literal["paper", "cosine"] = "paper"
    aggregate: Literal["lse", "sentence"] = "lse"
    t1: float = 4.0
    t2: float = 5.0
    t3: float = 10.0
    tau: float = 0.1


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """cos(x, y) = <x, y> / max(|x||y|, 1e-8) over the last dimension."""
    return (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1)).clamp(min=EPSILON)


def paper_attention(v_IRD: Tensor, t_JKD: Tensor, present_JK: Tensor, t1: float) -> Tensor:
    """a_ijkr: where in image i unit k of report j looks; sums to 1 over the regions.

    e_rk = <v_ir, t_jk>;  p_rk = softmax over the units k of e_rk;  a_rk = softmax over the regions r of T1 p_rk.
    """
    e_IJKR = torch.einsum("ird,jkd->ijkr", v_IRD, t_JKD)
    p_IJKR = e_IJKR.masked_fill(~present_JK[None, :, :, None], float("-inf")).softmax(dim=2)
    return (t1 * p_IJKR).softmax(dim=3)


def cosine_attention(u_IRD: Tensor, s_JKD: Tensor, tau: float) -> Tensor:
    """a = softmax over the regions of <u, s> / tau, of unit vectors u = v/|v|, s = t/|t| (METHOD: cosine attention)."""
    return (torch.einsum("ird,jkd->ijkr", u_IRD, s_JKD) / tau).softmax(dim=3)


def unit_scores(v_IRD: Tensor, t_JKD: Tensor, present_JK: Tensor, terms: Terms) -> Tensor:
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


def report_scores(unit_scores_IJK: Tensor, present_JK: Tensor, t2: float) -> Tensor:
    """Z_ij = log sum_k exp(T2 cos(c_k, t_jk)), over the units that are there."""
    return (t2 * unit_scores_IJK).masked_fill(~present_JK[None], float("-inf")).logsumexp(dim=2)


def both_ways(scores_BB: Tensor, t3: float) -> tuple[Tensor, Tensor]:
    """Cross entropies of T3·scores over rows, L(t|v), and over columns, L(v|t); the target is the own partner."""
    own_B = torch.arange(scores_BB.shape[0], device=scores_BB.device)
    return F.cross_entropy(t3 * scores_BB, own_B), F.cross_entropy(t3 * scores_BB.T, own_B)


def sentences_both_ways(unit_scores_BBK: Tensor, present_BK: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """The contrast of single units, scale 1/tau: L(t|v), L(v|t) (METHOD: aggregate = "sentence").

    L(t|v): for each image, the mean over its own units of their cross entropy among the units of all reports.
    L(v|t): for each unit, the cross entropy of its own image among all images; the mean over all units.
    """
    logits_BBK = (unit_scores_BBK / tau).masked_fill(~present_BK[None], float("-inf"))
    own_B = torch.arange(len(present_BK), device=present_BK.device)
    text_BK = logits_BBK.flatten(1).log_softmax(dim=1).view_as(logits_BBK)[own_B, own_B]
    counts_B = present_BK.sum(dim=1)
    text_given_image = -(text_BK.masked_fill(~present_BK, 0).sum(dim=1) / counts_B).mean()
    # The columns of absent units are constant -inf, so they are left out before the softmax over images.
    image_BK = (unit_scores_BBK / tau).log_softmax(dim=0)[own_B, own_B]
    image_given_text = -image_BK.masked_fill(~present_BK, 0).sum() / counts_B.sum()
    return text_given_image, image_given_text


def contrast(units_BBK: Tensor, global_BB: Tensor, present_BK: Tensor, terms: Terms) -> dict[str, Tensor]:
    """The unweighted terms {local_tv, local_vt, global_tv, global_vt}; `tv` is L(t|v): which text, given the image."""
    if terms.aggregate == "sentence":
        local_tv, local_vt = sentences_both_ways(units_BBK, present_BK, terms.tau)
    else:
        local_tv, local_vt = both_ways(report_scores(units_BBK, present_BK, terms.t2), terms.t3)
    global_tv, global_vt = both_ways(global_BB, terms.t3)
    return {"local_tv": local_tv, "local_vt": local_vt, "global_tv": global_tv, "global_vt": global_vt}


def four_terms(
    v_BRD: Tensor, g_BD: Tensor, t_BKD: Tensor, present_BK: Tensor, q_BD: Tensor, terms: Terms
) -> dict[str, Tensor]:
    """The terms of a whole batch, from the features of its images and reports."""
    units_BBK = unit_scores(v_BRD, t_BKD, present_BK, terms)
    return contrast(units_BBK, image_report_scores(g_BD, q_BD), present_BK, terms)


def total(terms: dict[str, Tensor], weight_global: float = 1.0, weight_local: float = 1.0) -> Tensor:
    """L = w_g (L_g(v|t) + L_g(t|v)) + w_l (L_l(v|t) + L_l(t|v))."""
    return weight_global * (terms["global_vt"] + terms["global_tv"]) + weight_local * (
        terms["local_vt"] + terms["local_tv"]
    )
