// The page: what a person does → a new state → what is shown. Read this first, then viewer.js and draw.js.

import * as api from "./api.js";
import { Changes } from "./changes.js";
import { boxesJson, png, save } from "./downloads.js";
import { COLOURS } from "./draw.js";
import { showList } from "./findings_list.js";
import { showGallery } from "./gallery.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
let settings = { level: 0.5 };
let file = null;
let changes = null; // of the open picture
let found = new Map(); // sentence → what the server found

const viewer = new Viewer($("stage"), {
  window: (dx, dy) => file && change({ width: clamp(changes.now.width + 2 * dx, 0.01, 3), level: clamp(changes.now.level - dy, -0.5, 1.5) }, true),
  windowEnd: () => changes?.settle(),
  cursor: showCursor,
});
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Window level and width are parts of the file's own window: .5 and 1 show the picture as the file says.
const start = () => ({ findings: [], opacity: 0.5, threshold: settings.level, level: 0.5, width: 1, marks: true });

async function open(blob, sentences = []) {
  say("Opening …");
  try {
    const opened = await api.OpenFile.open(blob);
    const values = await opened.values();
    file?.close();
    [file, found, changes] = [opened, new Map(), new Changes(start())];
    viewer.show(file, values);
  } catch (error) {
    return say(error.message, true);
  }
  $("welcome").hidden = true;
  for (const id of ["sentence", "find", "display", "downloads"]) $(id).disabled = false;
  $("another").hidden = false;
  $("seg").disabled = !file.info.dicom;
  $("hints").replaceChildren(...sentences.map(hint));
  refresh();
  say("");
  $("sentence").focus();
}

function hint(sentence) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: sentence });
  button.addEventListener("click", () => find(sentence));
  return button;
}

async function find(text) {
  const asked = file;
  say("Looking …");
  try {
    const one = await asked.find(text);
    if (asked !== file) return; // another picture was opened meanwhile
    found.set(one.sentence, one);
    const others = changes.now.findings.filter(({ sentence }) => sentence !== one.sentence);
    change({ findings: [...others, { sentence: one.sentence, colour: freeColour(others), visible: true }] });
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

function freeColour(findings) {
  const used = new Set(findings.map(({ colour }) => colour));
  const free = COLOURS.findIndex((_, index) => !used.has(index));
  return free < 0 ? findings.length % COLOURS.length : free;
}

function change(part, live = false) {
  changes.set(part, live);
  refresh();
}

const visible = () => changes.now.findings.filter((one) => one.visible).map(({ sentence, colour }) => ({ colour, found: found.get(sentence) }));

function refresh() {
  const { opacity, threshold, level, width, marks, findings } = changes.now;
  const { black, white } = file.info;
  const at = (share) => black + share * (white - black);
  viewer.update({ black: at(level - width / 2), white: at(level + width / 2), threshold, opacity, marks }, visible());
  showList($("list"), findings, found, {
    toggle: (name) => change({ findings: findings.map((one) => (one.sentence === name ? { ...one, visible: !one.visible } : one)) }),
    remove: (name) => change({ findings: findings.filter(({ sentence }) => sentence !== name) }),
  });
  for (const [id, share] of Object.entries({ opacity, threshold, level, width })) {
    $(id).value = Math.round(share * 100);
    $(`${id}-text`).textContent = `${Math.round(share * 100)}%`;
  }
  showUnits(level, width);
  $("boxes").checked = marks;
  $("undo").disabled = !changes.past.length;
  $("redo").disabled = !changes.future.length;
  for (const id of ["json", "seg"]) $(id).disabled = !visible().length || (id === "seg" && !file.info.dicom);
}

// Level and width in the units of the file, where its window is a straight line.
function showUnits(level, width) {
  if (!file.info.units) return;
  const [black, white] = file.info.units;
  $("level-text").textContent = Math.round(black + level * (white - black));
  $("width-text").textContent = Math.round(width * Math.abs(white - black));
}

function showCursor(pixel) {
  $("cursor").textContent = pixel ? `${pixel.x}, ${pixel.y}` : "";
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function listen() {
  $("choose").addEventListener("click", () => $("file").click());
  $("another").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files[0]) open($("file").files[0]);
    $("file").value = "";
  });
  addEventListener("dragover", (event) => { event.preventDefault(); $("stage").classList.add("over"); });
  addEventListener("dragleave", () => $("stage").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("over");
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("sentence").value.trim()) find($("sentence").value);
    $("sentence").select();
  });
  for (const id of ["opacity", "threshold", "level", "width"]) {
    $(id).addEventListener("input", () => change({ [id]: $(id).value / 100 }, true));
    $(id).addEventListener("change", () => changes.settle());
  }
  $("boxes").addEventListener("change", () => change({ marks: $("boxes").checked }));
  $("reset-window").addEventListener("click", () => change({ level: 0.5, width: 1 }));
  $("fit").addEventListener("click", () => viewer.fit());
  $("undo").addEventListener("click", () => { changes.undo(); refresh(); });
  $("redo").addEventListener("click", () => { changes.redo(); refresh(); });
  addEventListener("keydown", (event) => {
    const typing = event.target === $("sentence") && $("sentence").value;
    if (!file || typing || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) changes.redo();
    else changes.undo();
    refresh();
  });
  $("png").addEventListener("click", async () => save(await png(viewer, visible(), changes.now), "sentalign.png"));
  $("json").addEventListener("click", () => save(boxesJson(file.info, visible()), "sentalign.json"));
  $("seg").addEventListener("click", async () => {
    say("Writing the segmentation …");
    try {
      const names = visible().map((one) => one.found.sentence);
      save(await file.segmentation(names, clamp(changes.now.threshold, 0.01, 0.99)), "sentalign-segmentation.dcm");
      say("");
    } catch (error) {
      say(error.message, true);
    }
  });
  addEventListener("pagehide", () => file?.close());
}

async function begin() {
  listen();
  try {
    settings = await api.about();
    await showGallery($("gallery"), async (number, sentences) => {
      try {
        await open(await api.exampleFile(number), sentences);
      } catch (error) {
        say(error.message, true);
      }
    });
  } catch (error) {
    say(error.message, true);
  }
}

begin();
