"""The four loss terms as plain loops over scalars, written from docs/method.md: the oracle of every other form.

In: float64 features and what each report says, as text. Out: the terms, differentiable by torch autograd. Nothing of
the project is imported here, so that a mistake in shared code (masks, weights, targets) cannot cancel out.
"""

# v[i] regions of image i, g[i] its global vector; t[j][k] units of report j (k = 0 is [CLS]), q[j] its report vector

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Report:
    """A stored report (all its sentences, with their tags) and which of them a step has drawn as units 1, 2, ...

    None is a unit without words, which is absent.
    """

    study: str
    sentences: tuple[str, ...] = ()
    drawn: tuple[int | None, ...] = ()
    tags: tuple[frozenset[str], ...] = ()

    def units(self):
        """(k, text) of each present unit; the text of [CLS] is None."""
        return [(0, None)] + [(k, self.sentences[n]) for k, n in enumerate(self.drawn, start=1) if n is not None]


def unit_weights(report, tag_weights):
    """w_k of each present unit: the smallest weight of a sentence's tags; of [CLS] the largest of the sentences'."""
    weights = {}
    for k, n in enumerate(report.drawn, start=1):
        if n is not None:
            weights[k] = min([1.0] + [tag_weights[tag] for tag in report.tags[n] if tag in tag_weights])
    return {0: max(weights.values(), default=1.0)} | weights


def dot(x, y):
    return (x * y).sum()


def cos(x, y):
    return dot(x, y) / torch.clamp(dot(x, x).sqrt() * dot(y, y).sqrt(), min=1e-8)


def softmax(values):
    top = max(float(value.detach()) for value in values)
    powers = [torch.exp(value - top) for value in values]
    whole = sum(powers)
    return [power / whole for power in powers]


def log_sum_exp(values, weights=None):
    """log sum_n w_n exp(x_n); a weight of zero leaves its value out."""
    pairs = [(x, w) for x, w in zip(values, weights or [1.0] * len(values), strict=True) if w > 0]
    top = max(float(x.detach()) for x, _ in pairs)
    return top + torch.log(sum(w * torch.exp(x - top) for x, w in pairs))


def paper_cosine(regions, units, k, options):
    """cos(c_k, t_k): p = softmax over the units of <v_r, t>, a = softmax over the regions of T1 p_k, c = sum a v."""
    shares = [softmax([dot(v, t) for t in units])[k] for v in regions]
    a = softmax([options.t1 * share for share in shares])
    return cos(sum(weight * v for weight, v in zip(a, regions, strict=True)), units[k])


def cosine_cosine(regions, unit, options):
    """cos(c, s): u = v / |v|, s = t / |t|, a = softmax over the regions of <u, s> / tau, c = sum a u."""
    u = [v / dot(v, v).sqrt() for v in regions]
    s = unit / dot(unit, unit).sqrt()
    a = softmax([dot(x, s) / options.tau for x in u])
    return cos(sum(weight * x for weight, x in zip(a, u, strict=True)), s)


def unit_cosines(v, t, reports, options):
    """{(i, j, k): how well what unit k of report j sees in image i agrees with it}, of present units."""
    found = {}
    for j, report in enumerate(reports):
        places = [k for k, _ in report.units()]
        units = [t[j][k] for k in places]
        for i, regions in enumerate(v):
            for n, k in enumerate(places):
                paper = options.attention == "paper"
                found[i, j, k] = (
                    paper_cosine(regions, units, n, options) if paper else cosine_cosine(regions, units[n], options)
                )
    return found


def same_report(one, other):
    """P of two different rows: the same study, or the same sentences in the same order, of which there are some."""
    return one.study == other.study or (bool(one.sentences) and one.sentences == other.sentences)


def partners(reports, i, j, options):
    """What the pair (image i, report j) is: "positive", "negative", or None where the targets leave it out."""
    if i == j:
        return "positive"
    if options.targets == "own" or not same_report(reports[i], reports[j]):
        return "negative"
    return "positive" if options.targets == "multi" else None


def pair_weights(reports, weights, i, j, options):
    """{k: w_k} of the units of report j that count for image i: with `drop` none that image i's own report has too."""
    drop = options.sentence_twins == "drop" and i != j
    drop = drop or (options.sentence_twins == "soft" and partners(reports, i, j, options) == "negative")
    return {
        k: weights[j][k]
        for k, text in reports[j].units()
        if weights[j][k] > 0 and not (drop and text is not None and text in reports[i].sentences)
    }


def twin_weight(t, reports, weights, pair, k, options):
    """(1 - s)^2 of a negative, s the largest cosine, from 0 to 1, of unit k with a sentence of image i's own report."""
    i, j = pair
    if options.sentence_twins != "soft" or k == 0 or partners(reports, i, j, options) == "positive":
        return 1.0
    own = [n for n, text in reports[i].units() if text is not None and weights[i][n] > 0]
    return (1 - min(1.0, max([0.0] + [float(cos(t[i][n], t[j][k]).detach()) for n in own]))) ** 2


def local_terms(cosines, t, reports, weights, options):
    """L_l(t|v) and L_l(v|t): columns are reports (lse) or single units (sentence)."""
    there = [any(w > 0 for w in unit.values()) for unit in weights]
    scores, kinds, columns = {}, {}, {}
    for i in range(len(reports)):
        for j in range(len(reports)):
            kind = partners(reports, i, j, options)
            counted = pair_weights(reports, weights, i, j, options)
            if not (there[i] and there[j] and kind and counted):
                continue
            twins = {k: twin_weight(t, reports, weights, (i, j), k, options) for k in counted}
            if options.aggregate == "lse":
                w = [twins[k] * counted[k] for k in counted]
                z = log_sum_exp([options.t2 * cosines[i, j, k] for k in counted], w)
                scores[i, j], kinds[i, j], columns[j] = options.t3 * z, kind, 1.0
            else:
                for k, w in counted.items():
                    score = cosines[i, j, k] / options.tau_contrast + math.log(twins[k])
                    scores[i, (j, k)], kinds[i, (j, k)] = score, kind
                    columns[j, k] = w
    return both_ways(scores, kinds, columns, options, options.bias_local)


def global_terms(g, q, reports, options):
    """L_g(t|v) and L_g(v|t)."""
    scores, kinds = {}, {}
    for i in range(len(reports)):
        for j in range(len(reports)):
            if kind := partners(reports, i, j, options):
                scores[i, j], kinds[i, j] = options.t3 * cos(g[i], q[j]), kind
    return both_ways(scores, kinds, dict.fromkeys(range(len(reports)), 1.0), options, options.bias_global)


def both_ways(scores, kinds, columns, options, bias):
    """The two terms of scores[i, u] over kept pairs; columns[u] is the weight of column u."""
    if not scores:
        return torch.zeros(()), torch.zeros(())
    if options.objective == "sigmoid":
        each = [
            columns[u] * torch.log1p(torch.exp(-(1 if kinds[i, u] == "positive" else -1) * (score + bias)))
            for (i, u), score in scores.items()
        ]
        half = sum(each) / sum(columns.values()) / 2
        return half, half
    by_image, by_column = [], []
    for i in sorted({i for i, _ in scores}):
        row = {u: score for (image, u), score in scores.items() if image == i}
        by_image.append(cross_entropy(row, [u for u in row if kinds[i, u] == "positive"], columns))
    for u, w in columns.items():
        column = {i: score for (i, other), score in scores.items() if other == u}
        positive = [i for i in column if kinds[i, u] == "positive"]
        by_column.append(w * cross_entropy(column, positive, dict.fromkeys(column, 1.0)))
    return sum(by_image) / len(by_image), sum(by_column) / sum(columns.values())


def cross_entropy(scores, positive, weights):
    """log sum_u w_u exp(S_u) - sum over positives of w_u S_u / sum over positives of w_u."""
    whole = log_sum_exp(list(scores.values()), [weights[u] for u in scores])
    return whole - sum(weights[u] * scores[u] for u in positive) / sum(weights[u] for u in positive)


def swapped_term(v, t, swapped, negatives, options):
    """The mean over {(i, k): w} of -log of the probability that image i prefers its unit k to the swapped unit k.

    t[i] and swapped[i] are {k: vector} of the present units of report i and of the same report with swapped sides.
    """
    losses = []
    for (i, k), w in negatives.items():
        scores = []
        for units in (t[i], swapped[i]):
            if options.attention == "paper":
                scores.append(paper_cosine(v[i], list(units.values()), list(units).index(k), options))
            else:
                scores.append(cosine_cosine(v[i], units[k], options))
        scale = options.t2 * options.t3 if options.aggregate == "lse" else 1 / options.tau_contrast
        true, false = (torch.exp(scale * score) for score in scores)
        losses.append(-w * torch.log(true / (true + false)))
    return sum(losses) / sum(negatives.values()) if losses else torch.zeros(())


def attraction_term(v, t, weights, count):
    """The mean over {(i, k): w} of the mean of 1 - cos over the `count` regions of image i most like its sentence k."""
    losses = []
    for (i, k), w in weights.items():
        nearest = sorted((1 - cos(region, t[i][k]) for region in v[i]), key=lambda x: float(x.detach()))[:count]
        losses.append(w * sum(nearest) / count)
    return sum(losses) / sum(weights.values()) if losses else torch.zeros(())


def four_terms(cosines, t, g, q, reports, weights, options):
    """The unweighted terms; `tv` is L(t|v): which text, given the image."""
    local, whole = local_terms(cosines, t, reports, weights, options), global_terms(g, q, reports, options)
    return {"local_tv": local[0], "local_vt": local[1], "global_tv": whole[0], "global_vt": whole[1]}
