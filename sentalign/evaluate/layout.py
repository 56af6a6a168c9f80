"""The frame of the evaluation's page: HTML and style with `$names` that `page` fills in. No data and no code here."""

from __future__ import annotations

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Zero-shot localization on MS-CXR</title>
<style>
:root { --ink: #1c2430; --soft: #5c6878; --rule: #e3e7ec; --model: #0072b2; --control: #8a94a3; --paper: #fff; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 3rem 1.5rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; }
p, li { max-width: 48rem; }
.lead { font-size: 1.15rem; }
.soft, .ci { color: var(--soft); }
.ci { font-size: .8em; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--rule); vertical-align: top;
  font-weight: 400; }
thead th { color: var(--soft); font-size: .82rem; border-bottom: 2px solid var(--rule); }
td b { font-weight: 600; }
tr.model th, tr.model b { color: var(--model); font-weight: 650; }
svg { display: block; width: 120px; height: 12px; margin-top: .15rem; }
svg line { stroke-width: 2; } svg .zero { stroke: var(--rule); stroke-width: 1; }
svg.model line:not(.zero) { stroke: var(--model); } svg.model circle { fill: var(--model); }
svg.control line:not(.zero) { stroke: var(--control); } svg.control circle { fill: var(--control); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.5rem 1.25rem; }
figure { margin: 0; }
figure img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; border-radius: 6px; display: block; }
figcaption { margin-top: .5rem; font-size: .9rem; line-height: 1.4; }
figcaption span { display: block; color: var(--soft); font-size: .85em; }
dt { font-weight: 600; margin-top: .8rem; } dd { margin: .1rem 0 0; max-width: 48rem; }
@media print { body { padding: 0; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
</style>
<h1>Zero-shot localization on MS-CXR</h1>
<p class="lead">$verdict</p>
<p class="soft">$counts</p>

<h2>The model beside its controls</h2>
<div class="scroll"><table>
<thead><tr><th>Map</th><th>Pointing, clean protocol</th><th>Signed CNR, paper protocol</th>
<th>mIoU, paper protocol</th><th>Dice, paper protocol</th></tr></thead>
<tbody>
$table
</tbody></table></div>
<p class="soft">Dot: mean. Line: 95% interval. Controls are scored on the seen cases by the same code as the model.</p>
$saliency
$sided

<h2>By category</h2>
<div class="scroll"><table>
<thead><tr><th>Category</th><th>In training</th><th>Cases</th><th>Pointing</th><th>Average precision</th>
<th>CNR</th><th>mIoU</th><th>Dice</th></tr></thead>
<tbody>
$categories
</tbody></table></div>

<h2>By wording</h2>
<div class="scroll"><table>
<thead><tr><th>Sentence (… is the phrase)</th><th>Pointing</th><th>Average precision</th>
<th>IoU, clean</th></tr></thead>
<tbody>
$prompts
</tbody></table></div>

<h2>Hits</h2>
<p class="soft">$hit_count cases whose peak lies in a box; $hit_shown of them, at evenly spaced ranks of average
precision, best first. White: the true boxes. Colour: the map. Blue cross: its peak.</p>
<div class="grid">
$hits
</div>

<h2>Misses</h2>
<p class="soft">$miss_count cases whose peak lies in no box; $miss_shown of them, chosen by the same rule.</p>
<div class="grid">
$misses
</div>

<h2>How it was measured</h2>
<dl>
<dt>Clean protocol</dt>
<dd>The whole image, in its original pixels. The score of a region is its product with the vector of the sentence
embedded alone, bilinear between regions. Pointing: the highest of all original pixels lies in a box; a constant
map misses. Average precision is over pixels and needs no threshold. Several boxes of one phrase are one region,
their union. Means over all cases.</dd>
<dt>Paper protocol</dt>
<dd>For comparison with published tables: report-level vector, Gaussian of sigma 1.5 on the grid, bilinear to 224,
central 7/8, min-max to [-1, 1]; IoU and Dice averaged over thresholds 0.1 to 0.5, an empty prediction counts 0;
CNR = (mean inside - mean outside) / sqrt(sum of the variances), with its sign. Mean per category, then over categories.
Cases without a box in the scored centre are left out here: $outside.</dd>
<dt>Intervals</dt><dd>95% percentile intervals of $replicates bootstrap replicates that draw whole patients, seed $seed.
All maps of a group of cases share the draws.</dd>
<dt>Controls</dt>
<dd>Shuffled sentences: the phrase of another image. Swapped sides: left and right exchanged, in phrases that
name a side. Centre prior: a Gaussian at the centre of the picture. Mean mask: the mean of the other patients'
boxes. Text-free saliency: brightness, darkness, local contrast and local deviation at three
scales, on the model's own grid.</dd>
</dl>
</html>
""")
