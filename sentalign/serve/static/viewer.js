// The stage: picture, maps and marks as layers of one element, which zoom and pan move together.

import { COLOURS, css, drawMap, drawPicture, markLines } from "./draw.js";
import Panzoom from "./vendor/panzoom.js";

const SVG = "http://www.w3.org/2000/svg";
const SIZE_ON_SCREEN = 9; // pixels of half a cross

export class Viewer {
  // `events.window(dx, dy)` is called while a person drags the window, `events.windowEnd()` after, `events.cursor(x, y)`
  // with the pixel of the file under the pointer, or null.
  constructor(stage, events) {
    this.stage = stage;
    this.layers = stage.querySelector("#layers");
    this.picture = stage.querySelector("#picture");
    this.maps = stage.querySelector("#maps");
    this.marks = stage.querySelector("#marks");
    this.drawn = new Map(); // sentence → its canvas
    this.pan = Panzoom(this.layers, { canvas: true, maxScale: 32, minScale: 0.5, step: 0.5, cursor: "crosshair" });
    stage.addEventListener("wheel", (event) => this.file && this.pan.zoomWithWheel(event), { passive: false });
    stage.addEventListener("dblclick", () => this.file && this.fit());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("pointermove", (event) => events.cursor(this.pixelAt(event)));
    stage.addEventListener("pointerleave", () => events.cursor(null));
    this.layers.addEventListener("panzoomchange", () => this.drawMarks());
    dragWindow(stage, events);
    new ResizeObserver(() => this.file && this.pan.getScale() === 1 && this.fit()).observe(stage);
  }

  show(file, values) {
    [this.file, this.values] = [file, values];
    const { rows, columns } = file.info.shown;
    [this.picture.width, this.picture.height] = [columns, rows];
    this.marks.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    this.scale = { x: columns / file.info.columns, y: rows / file.info.rows };
    this.drawn.clear();
    this.maps.replaceChildren();
    [this.window, this.marked] = [null, []];
    this.layers.hidden = false;
    this.fit();
  }

  // The whole picture in the middle of the stage.
  fit() {
    const { rows, columns } = this.file.info.shown;
    const share = Math.min(this.stage.clientWidth / columns, this.stage.clientHeight / rows);
    this.layers.style.width = `${columns * share}px`;
    this.layers.style.height = `${rows * share}px`;
    this.pan.reset({ animate: false });
    this.drawMarks();
  }

  // `visible` are findings with a colour; only what has changed is drawn.
  update({ black, white, threshold, opacity, marks }, visible) {
    if (this.window !== `${black} ${white}`) drawPicture(this.picture, this.values, black, white);
    this.window = `${black} ${white}`;
    const names = new Set(visible.map(({ found }) => found.sentence));
    for (const [name, canvas] of this.drawn) canvas.hidden = !names.has(name);
    for (const { found, colour } of visible) {
      let canvas = this.drawn.get(found.sentence);
      const state = `${threshold} ${colour}`;
      if (!canvas) {
        canvas = document.createElement("canvas");
        this.drawn.set(found.sentence, canvas);
        this.maps.append(canvas);
      }
      if (canvas.dataset.state !== state) drawMap(canvas, found.raster, COLOURS[colour], threshold);
      canvas.dataset.state = state;
      canvas.style.opacity = opacity;
    }
    this.marked = marks ? visible : [];
    this.drawMarks();
  }

  drawMarks() {
    const shown = (this.layers.clientWidth * this.pan.getScale()) / this.picture.width; // screen pixels of one shown pixel
    const lines = (this.marked ?? []).flatMap(({ found, colour }) =>
      markLines(found, this.scale, SIZE_ON_SCREEN / shown).map((ends) => line(ends, css(COLOURS[colour]))));
    this.marks.replaceChildren(...lines);
  }

  // The pixel of the file under the pointer, or null beside the picture.
  pixelAt(event) {
    if (!this.file) return null;
    const at = this.layers.getBoundingClientRect();
    const { rows, columns } = this.file.info;
    const x = Math.floor(((event.clientX - at.left) / at.width) * columns);
    const y = Math.floor(((event.clientY - at.top) / at.height) * rows);
    return x >= 0 && y >= 0 && x < columns && y < rows ? { x, y } : null;
  }
}

function line([x1, y1, x2, y2], colour) {
  const made = document.createElementNS(SVG, "line");
  for (const [name, value] of Object.entries({ x1, y1, x2, y2, stroke: colour })) made.setAttribute(name, value);
  made.setAttribute("stroke-width", 2);
  made.setAttribute("vector-effect", "non-scaling-stroke");
  return made;
}

// Right button, or Shift: the drag is the window's, before Panzoom sees it.
function dragWindow(stage, events) {
  let last = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 2 && !event.shiftKey) return;
    event.stopPropagation();
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    last = event;
  }, { capture: true });
  stage.addEventListener("pointermove", (event) => {
    if (!last) return;
    events.window((event.clientX - last.clientX) / stage.clientWidth, (event.clientY - last.clientY) / stage.clientHeight);
    last = event;
  });
  const end = () => {
    if (last) events.windowEnd();
    last = null;
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
}
