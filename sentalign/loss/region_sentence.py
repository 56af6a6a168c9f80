"""The region-sentence scores, in chunks that are recomputed in the backward pass.

In: one rank's regions, the units of all ranks' reports, packed without padding. Out: cos(c_im, t_m) of every image and
unit, as `reference.unit_scores` defines it. Only the inputs and their Gram matrices, which are smaller, are saved for
the backward pass, so memory grows with the chunk and with the scores, not with images x units x regions.

Three identities save most of the work (docs/method.md, the exact large-batch local loss). <c, t> = sum_r a_r e_r;
|c|^2 = a' (V V') a, so c is never formed where there are fewer regions than dimensions; and the cosine does not depend
on the length of c, so the gradient by log a needs no centring, as a softmax's usually does.

A fused kernel for GPUs would replace `_UnitScores`; callers use `unit_scores` only.
"""

# b images, R regions, M packed units, J reports, n units of each report of a group, D width
# i images of a chunk, m units of a chunk

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign.loss.reference import EPSILON, LossConfig

Groups = Sequence[tuple[int, int]]
# Elements of one (i, m, R) block. On a CPU a block and two or three more of its size stay in the cache; a GPU needs
# large ones.
BLOCK = {"cpu": 1 << 18, "cuda": 1 << 26}
UNITS = {"cpu": 512, "cuda": 8192}  # of a chunk at most


def unit_scores(v_bRD: Tensor, t_MD: Tensor, groups: Groups, config: LossConfig) -> Tensor:
    """cos(c_im, t_m) as (b, M), of units sorted into `groups`: J reports of n units each, one group after another.

    Under paper attention p is a softmax over the n units of one report, [CLS] included.
    """
    paper = config.attention == "paper"
    if not paper:
        v_bRD, t_MD = F.normalize(v_bRD, dim=-1, eps=EPSILON), F.normalize(t_MD, dim=-1, eps=EPSILON)
    sharpness = torch.as_tensor(config.t1 if paper else 1 / config.tau, dtype=v_bRD.dtype, device=v_bRD.device)
    return _UnitScores.apply(v_bRD, t_MD, sharpness, tuple(groups), paper)


class _UnitScores(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, v_bRD: Tensor, t_MD: Tensor, sharpness: Tensor, groups: tuple[tuple[int, int], ...], paper: bool
    ) -> Tensor:
        pays = gram_pays(v_bRD.shape[1], *t_MD.shape)
        gram_bRR = v_bRD @ v_bRD.transpose(1, 2) if pays else v_bRD.new_empty(len(v_bRD), 0)
        context.save_for_backward(v_bRD, t_MD, sharpness, gram_bRR)
        context.groups, context.paper = groups, paper
        scores_bM = v_bRD.new_empty(len(v_bRD), len(t_MD))
        for images in _images(v_bRD, t_MD):
            for units, n in _units(groups, v_bRD.device.type):
                block = _Block(v_bRD[images], t_MD[units], gram_bRR[images], n, sharpness, paper)
                scores_bM[images, units] = block.dots_im / block.lengths_im.clamp(min=EPSILON)
        return scores_bM

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        v_bRD, t_MD, sharpness, gram_bRR = context.saved_tensors
        dv_bRD, dt_MD = torch.zeros_like(v_bRD), torch.zeros_like(t_MD)
        # One sum over all elements needs double precision.
        dsharpness = torch.zeros_like(sharpness, dtype=torch.float64) if context.needs_input_grad[2] else None
        for images in _images(v_bRD, t_MD):
            dgram_iRR = torch.zeros_like(gram_bRR[images])
            for units, n in _units(context.groups, v_bRD.device.type):
                block = _Block(v_bRD[images], t_MD[units], gram_bRR[images], n, sharpness, context.paper)
                block.backward(gradients[0][images, units], dv_bRD[images], dt_MD[units], dgram_iRR, dsharpness)
            if dgram_iRR.dim() == 3:
                dv_bRD[images].baddbmm_(dgram_iRR, v_bRD[images], alpha=2)  # the gradient is symmetric, as V V' is
        return dv_bRD, dt_MD, None if dsharpness is None else dsharpness.to(sharpness.dtype), None, None


class _Block:
    """The scores of i images and m units of reports of n units each, and their gradients."""

    def __init__(self, v_iRD: Tensor, t_mD: Tensor, gram_iRR: Tensor, n: int, sharpness: Tensor, paper: bool) -> None:
        self.v_iRD, self.t_mD, self.n, self.sharpness, self.paper = v_iRD, t_mD, n, sharpness, paper
        self.e_imR = t_mD @ v_iRD.transpose(1, 2)
        self.x_imR = self._by_report(self.e_imR).softmax(dim=2).view_as(self.e_imR) if paper else self.e_imR
        self.a_imR = (self.x_imR * sharpness).softmax(dim=2)
        self.dots_im = (self.a_imR * self.e_imR).sum(dim=2)
        # a' (V V') with the Gram matrix, else c = a' V itself; their products with a and c are |c|^2.
        self.by_gram = gram_iRR.dim() == 3
        self.c_imX = self.a_imR @ (gram_iRR if self.by_gram else v_iRD)
        squares_im = (self.c_imX * (self.a_imR if self.by_gram else self.c_imX)).sum(dim=2).clamp_(min=0)
        self.roots_im, self.norms_m = squares_im.sqrt(), t_mD.norm(dim=1)
        self.lengths_im = self.roots_im * self.norms_m

    def backward(
        self, g_im: Tensor, dv_iRD: Tensor, dt_mD: Tensor, dgram_iRR: Tensor, dsharpness: Tensor | None
    ) -> None:
        """Adds the gradients to the buffers passed in. Overwrites the block's own buffers."""
        lengths_im = self.lengths_im.clamp(min=EPSILON)
        ddots_im = g_im / lengths_im
        dlengths_im = -ddots_im * self.dots_im / lengths_im * (self.lengths_im > EPSILON)
        dsquares_im = dlengths_im * self.norms_m / (2 * self.roots_im).clamp(min=EPSILON)
        da_imR = self._through_length(dsquares_im[:, :, None], dv_iRD, dgram_iRR)
        da_imR.addcmul_(self.e_imR, ddots_im[:, :, None])
        dlog_imR = da_imR.mul_(self.a_imR)
        if dsharpness is not None:
            dsharpness += self._of_sharpness(dlog_imR)
        de_imR = self._through_attention(dlog_imR)
        de_imR.addcmul_(self.a_imR, ddots_im[:, :, None])
        dv_iRD.baddbmm_(de_imR.transpose(1, 2), self.t_mD.expand(len(dv_iRD), -1, -1))
        for de_mR, v_RD in zip(de_imR, self.v_iRD, strict=True):
            dt_mD.addmm_(de_mR, v_RD)
        dnorms_m = (dlengths_im * self.roots_im).sum(dim=0)
        dt_mD.addcmul_(self.t_mD, (dnorms_m / self.norms_m.clamp(min=EPSILON))[:, None])

    def _through_length(self, dsquares_im1: Tensor, dv_iRD: Tensor, dgram_iRR: Tensor) -> Tensor:
        """The gradient of a through |c|^2; adds that of V V', or that of V where c was formed."""
        if self.by_gram:
            dgram_iRR.baddbmm_(self.a_imR.transpose(1, 2), self.a_imR * dsquares_im1)
            return self.c_imX.mul_(2 * dsquares_im1)
        dc_imD = self.c_imX.mul_(2 * dsquares_im1)
        dv_iRD.baddbmm_(self.a_imR.transpose(1, 2), dc_imD)
        return dc_imD @ self.v_iRD.transpose(1, 2)

    def _of_sharpness(self, dlog_imR: Tensor) -> Tensor:
        """The gradient of the sharpness, from that of log a.

        The gradients of one attention sum to zero, so any constant may be subtracted from x: its mean, which minimises
        the effect of rounding.
        """
        products_im = (dlog_imR * self.x_imR).sum(dim=2).double()
        return (products_im - dlog_imR.sum(dim=2).double() * self.x_imR.mean(dim=2)).sum()

    def _through_attention(self, dlog_imR: Tensor) -> Tensor:
        """The gradient of e from that of log a, which is overwritten."""
        dx_imR = dlog_imR.mul_(self.sharpness)
        if not self.paper:
            return dx_imR
        p_iJnR, dp_iJnR = self._by_report(self.x_imR), self._by_report(dx_imR)
        dp_iJnR.mul_(p_iJnR)  # softmax: p (dp - sum_k p dp)
        return dp_iJnR.addcmul_(p_iJnR, dp_iJnR.sum(dim=2, keepdim=True), value=-1).view_as(dx_imR)

    def _by_report(self, x_imR: Tensor) -> Tensor:
        images, units, regions = x_imR.shape
        # (i, m, R) -> (i, J, n, R)
        return x_imR.view(images, units // self.n, self.n, regions)


def gram_pays(regions: int, units: int, width: int) -> bool:
    """Whether V V' (R x R) needs fewer multiplications than c = a' V: 2 R (M + D) against 3 M D an image and region."""
    return 2 * regions * (units + width) < 3 * units * width


def _images(v_bRD: Tensor, t_MD: Tensor) -> Iterator[slice]:
    """The chunks of images."""
    kind = v_bRD.device.type
    step = max(1, BLOCK[kind] // (v_bRD.shape[1] * max(1, min(len(t_MD), UNITS[kind]))))
    for begin in range(0, len(v_bRD), step):
        yield slice(begin, begin + step)


def _units(groups: Groups, kind: str) -> Iterator[tuple[slice, int]]:
    """The chunks of units: whole reports of equally many units, n of them."""
    begin = 0
    for reports, n in groups:
        step = max(1, UNITS[kind] // n) * n
        end = begin + reports * n
        for first in range(begin, end, step):
            yield slice(first, min(first + step, end)), n
        begin = end
