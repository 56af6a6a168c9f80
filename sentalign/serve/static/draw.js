// Pixels: the picture through its window, a map in its colour above a threshold. No request, no state.

const TOP = 65535;
// Okabe and Ito's palette, which is safe for colour blindness, in the order of the pictures of `sentalign localize`.
export const COLOURS = [[86, 180, 233], [230, 159, 0], [0, 158, 115], [204, 121, 167], [240, 228, 66], [213, 94, 0], [0, 114, 178]];
export const css = (colour) => `rgb(${colour.join(" ")})`;

// Draws 16-bit values; those up to `black` are black, those from `white` on are white.
export function drawPicture(canvas, values, black, white) {
  const table = new Uint32Array(TOP + 1);
  for (let value = 0; value <= TOP; value++) {
    const grey = Math.max(0, Math.min(255, Math.floor(((value - black) / (white - black)) * 255 + 0.5)));
    table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[values[i]];
  context.putImageData(image, 0, 0);
}

// Draws a map: transparent below the threshold (0 to 1 of its range), denser the higher it is above.
export function drawMap(canvas, raster, colour, threshold) {
  canvas.width = raster.columns;
  canvas.height = raster.rows;
  const lowest = Math.max(1, threshold * TOP); // a constant map is 0 everywhere
  const table = new Uint32Array(TOP + 1);
  const [red, green, blue] = colour;
  for (let value = Math.ceil(lowest); value <= TOP; value++) {
    const share = (value - lowest) / (TOP - lowest || 1);
    table[value] = (Math.round(255 * (0.45 + 0.55 * share)) << 24) | (blue << 16) | (green << 8) | red;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[raster.values[i]];
  context.putImageData(image, 0, 0);
}

// Boxes and the peak of a finding as lines [x1, y1, x2, y2] in shown pixels; `scale` leads there from those of the file.
export function markLines(found, scale, arm) {
  const lines = [];
  for (const box of found.boxes) {
    const [left, top] = [box.x * scale.x, box.y * scale.y];
    const [right, bottom] = [left + box.width * scale.x, top + box.height * scale.y];
    lines.push([left, top, right, top], [right, top, right, bottom], [right, bottom, left, bottom], [left, bottom, left, top]);
  }
  if (found.peak) {
    const [x, y] = [(found.peak.x + 0.5) * scale.x, (found.peak.y + 0.5) * scale.y];
    lines.push([x - arm, y - arm, x + arm, y + arm], [x - arm, y + arm, x + arm, y - arm]);
  }
  return lines;
}
