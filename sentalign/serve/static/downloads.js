// What a person takes along: the view as PNG, boxes as JSON, a file of the server.

import { COLOURS, css, markLines } from "./draw.js";
import { summary } from "./findings_list.js";

export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Boxes and peaks in the pixels of the file, as in boxes.json of `sentalign localize`.
export function boxesJson(info, visible) {
  const sentences = visible.map(({ found: { raster, ...entry } }, index) => ({ number: index + 1, ...entry }));
  const content = { image: { rows: info.rows, columns: info.columns }, sentences };
  return new Blob([JSON.stringify(content, null, 1) + "\n"], { type: "application/json" });
}

// The picture as it is shown, in all its pixels (at least 640 on the long side), under its sentences and a notice.
export function png(viewer, visible, { opacity, threshold, marks }) {
  const [columns, rows] = [viewer.picture.width, viewer.picture.height];
  const share = Math.max(1, 640 / Math.max(columns, rows));
  const [width, height] = [Math.round(columns * share), Math.round(rows * share)];
  const size = Math.max(16, Math.round(width / 40));
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  context.font = `${size}px sans-serif`;
  const lines = visible.flatMap(({ found, colour }) => wrapped(context, `${found.sentence} (${summary(found)})`, width - 3 * size)
    .map((text, index) => ({ text, colour: index ? null : colour })));
  const notice = `Research output of sentalign, not for diagnosis; maps above ${Math.round(threshold * 100)}% of their range`;
  lines.push(...wrapped(context, notice, width - 3 * size).map((text) => ({ text, colour: null })));
  const top = Math.round(1.4 * size * lines.length + size * 0.6);
  [canvas.width, canvas.height] = [width, top + height];
  context.fillStyle = "#111";
  context.fillRect(0, 0, width, top);
  context.font = `${size}px sans-serif`; // a new size clears it
  lines.forEach(({ text, colour }, index) => {
    const y = size * 0.3 + 1.4 * size * index;
    if (colour !== null) {
      context.fillStyle = css(COLOURS[colour]);
      context.fillRect(size * 0.6, y + size * 0.2, size, size);
    }
    context.fillStyle = "#fff";
    context.fillText(text, size * 2.2, y + size * 1.05);
  });
  context.drawImage(viewer.picture, 0, top, width, height);
  context.globalAlpha = opacity;
  for (const { found } of visible) context.drawImage(viewer.drawn.get(found.sentence), 0, top, width, height);
  context.globalAlpha = 1;
  context.lineWidth = Math.max(2, width / 400);
  for (const { found, colour } of marks ? visible : []) {
    context.strokeStyle = css(COLOURS[colour]);
    context.beginPath();
    for (const [x1, y1, x2, y2] of markLines(found, viewer.scale, size / 2 / share)) {
      context.moveTo(x1 * share, top + y1 * share);
      context.lineTo(x2 * share, top + y2 * share);
    }
    context.stroke();
  }
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function wrapped(context, text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (context.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
