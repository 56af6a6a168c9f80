"""The looks of the page that `page` writes: one style sheet, light and dark.

In: nothing. Out: CSS. Colours keep a contrast of 4.5 to 1 for text on what lies behind it.
"""

STYLE = """
:root{color-scheme:light dark;--ground:#f4f5f3;--card:#fff;--ink:#1b1e21;--soft:#5a6168;--line:#dfe2e0;
--accent:#16697a;--bar:#9cc5cd;--bad:#a3302a;--bad-ground:#fbeceb;--good:#2d6a3e;--good-ground:#eaf4ec}
@media (prefers-color-scheme:dark){:root{--ground:#101314;--card:#191d1f;--ink:#e9ecea;--soft:#a2aab0;--line:#2b3134;
--accent:#7fc8d6;--bar:#2f6672;--bad:#f2a29c;--bad-ground:#38201f;--good:#9fd3ad;--good-ground:#1b2d21}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;
font-variant-numeric:tabular-nums}
header,main,footer{max-width:84rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.5rem}
h1{font-size:2rem;line-height:1.2;letter-spacing:-.02em;margin:0;overflow-wrap:anywhere}
h2{font-size:1.25rem;letter-spacing:-.01em;margin:2.75rem 0 .25rem}
p{margin:.25rem 0;max-width:65ch}
.soft{color:var(--soft)}
code{font:.8125rem/1.5 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
dl.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:1px;margin:1.75rem 0 0;
background:var(--line);border:1px solid var(--line);border-radius:.75rem;overflow:hidden}
.tiles div{background:var(--card);padding:.9rem 1.1rem;display:flex;flex-direction:column-reverse}
.tiles dt{color:var(--soft);font-size:.875rem}
.tiles dd{margin:0;font-size:1.75rem;font-weight:600;line-height:1.2;letter-spacing:-.02em}
.tiles small{white-space:nowrap;font-size:.875rem;font-weight:400;letter-spacing:0;color:var(--soft)}
ul.verdicts{list-style:none;margin:1rem 0 0;padding:0;display:flex;flex-wrap:wrap;gap:.5rem}
.verdicts li{border-radius:.5rem;padding:.35rem .75rem;font-size:.9375rem;background:var(--good-ground);
color:var(--good)}
p.note{margin-top:.5rem;font-size:.875rem}
.verdicts li.bad{background:var(--bad-ground);color:var(--bad);font-weight:600}
section+.card{margin-top:1rem}
.cards{columns:3 19rem;column-gap:1rem;margin-top:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1rem 1.1rem;
margin-bottom:1rem;break-inside:avoid}
table{border-collapse:collapse;width:100%;font-size:.9375rem}
caption{text-align:left;font-weight:600;padding-bottom:.5rem}
caption span{font-weight:400;color:var(--soft)}
th,td{padding:.2rem 0;text-align:left;font-weight:400;vertical-align:top}
thead th{color:var(--soft);font-size:.8125rem;border-bottom:1px solid var(--line)}
tbody tr:hover{background:color-mix(in srgb,var(--bar) 14%,transparent)}
tbody th{padding-right:.75rem;overflow-wrap:break-word}
td.bar{vertical-align:middle;width:40%;min-width:4rem}
td.bar span{display:block;height:.625rem;min-width:2px;border-radius:2px;background:var(--bar)}
td.number,th.number{text-align:right;white-space:nowrap;padding-left:.75rem;width:1%}
td.share{color:var(--soft);width:4rem}
.words td,.words th{padding:.4rem 0}
.words td{border-top:1px solid var(--line)}
.words .number{width:4.5rem;padding:.4rem 1.25rem .4rem 0}
.words td.number{color:var(--accent);font-weight:600}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(16rem,1fr));gap:1.25rem;margin-top:1rem}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:.75rem;overflow:hidden;
display:flex;flex-direction:column}
figure img,figure .none{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:#000}
figure .none{display:grid;place-items:center;color:#c9ced2;font-size:.9375rem}
figcaption{padding:.75rem .9rem 1rem;font-size:.875rem;display:flex;flex-direction:column;gap:.5rem;flex:1}
figcaption ul{margin:0;padding-left:1.1rem}
figcaption li{margin:.1rem 0;overflow-wrap:anywhere}
figcaption li::marker{color:var(--soft)}
figcaption em{color:var(--soft);font-style:normal;font-size:.75rem;white-space:nowrap}
.badges{display:flex;flex-wrap:wrap;gap:.35rem}
.badges span{border:1px solid var(--line);border-radius:1rem;padding:0 .6rem;font-size:.8125rem;color:var(--soft)}
.badges span.split{color:var(--accent);border-color:currentColor}
figcaption code{margin-top:auto;color:var(--soft);font-size:.75rem}
details summary{cursor:pointer;color:var(--accent)}
summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
footer{padding-top:2.5rem;padding-bottom:3rem;font-size:.875rem}
@media print{body{background:#fff}figure,.card{break-inside:avoid}}
"""
