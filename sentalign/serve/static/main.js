// The page: what a person does → a new state → what is shown. Read this first, then viewer.js and draw.js.

import * as api from "./api.js";
import { Changes } from "./changes.js";
import { boxesJson, png, save } from "./downloads.js";
import { COLOURS } from "./draw.js";
import { showList } from "./findings_list.js";
import { showGallery } from "./gallery.js";
import { Viewer } from "./viewer.js";

const MOST_SEGMENTS = 32; // of the server
const $ = (id) => document.getElementById(id);
let settings = { level: 0.5 };
let file = null;
let changes = null; // of the open picture
let found = new Map(); // sentence → what the server found
let turn = 0; // of files that were chosen; only the last one is shown
let pending = 0; // sentences that wait for their answer

const viewer = new Viewer($("stage"), {
  window: (dx, dy) => file && change(windowed(changes.now.width + 2 * dx, changes.now.level + dy), true),
  windowEnd: () => changes?.settle(),
  cursor: showCursor,
});
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Window level and width are parts of the file's own window: .5 and 1 show the picture as the file says. They reach all
// values that the file has.
const bounds = () => [0, 65535].map((end) => (end - file.info.black) / (file.info.white - file.info.black));
function windowed(width, level) {
  const [low, high] = bounds();
  return { width: clamp(width, 0.01, Math.max(3, high - low)), level: clamp(level, Math.min(-0.5, low), Math.max(1.5, high)) };
}

const start = () => ({ findings: [], opacity: 0.5, threshold: settings.level, level: 0.5, width: 1, marks: true });

async function open(source, name, sentences = []) {
  const own = ++turn;
  let opened;
  say("Opening …");
  try {
    const blob = await source;
    if (blob.size > settings.most_bytes) throw new Error(`The file is larger than ${settings.most_bytes / 1e6} MB.`);
    opened = await api.OpenFile.open(blob);
    const values = await opened.values();
    if (own !== turn) return opened.close(); // another file was chosen meanwhile
    file?.close();
    [file, found, changes, pending] = [opened, new Map(), new Changes(start()), 0];
    viewer.show(file, values);
    showOpened(name, sentences);
    say("");
  } catch (error) {
    if (opened !== file) opened?.close();
    if (own === turn) say(error.message, true);
  }
}

function showOpened(name, sentences) {
  $("welcome").hidden = true;
  $("opened").hidden = false;
  $("name").textContent = name; // it stays in this page
  for (const id of ["sentence", "find", "display", "downloads"]) $(id).disabled = false;
  $("hints").replaceChildren(...sentences.map(hint));
  const [low, high] = bounds();
  Object.assign($("level"), { min: Math.floor(100 * Math.min(-0.5, low)), max: Math.ceil(100 * Math.max(1.5, high)) });
  $("width").max = Math.ceil(100 * Math.max(3, high - low));
  refresh();
  $("sentence").focus();
}

function hint(sentence) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: sentence });
  button.addEventListener("click", () => find(sentence));
  return button;
}

async function find(text) {
  const asked = file;
  pending++;
  say("Looking …");
  try {
    const one = await asked.find(text);
    if (asked !== file) return; // another picture was opened meanwhile
    pending--;
    found.set(one.sentence, one);
    const others = changes.now.findings.filter(({ sentence }) => sentence !== one.sentence);
    change({ findings: [...others, { sentence: one.sentence, colour: freeColour(others), visible: true }] });
    if (!pending) say("");
  } catch (error) {
    if (asked !== file) return;
    pending--;
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
  $("caveat").hidden = !findings.length;
  $("json").disabled = !visible().length;
  const refused = file.info.no_segmentation ?? (visible().length > MOST_SEGMENTS ? `at most ${MOST_SEGMENTS} sentences` : "");
  $("seg").disabled = refused || !visible().length;
  $("seg").title = refused;
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
    if ($("file").files[0]) open($("file").files[0], $("file").files[0].name);
    $("file").value = "";
  });
  addEventListener("dragover", (event) => { event.preventDefault(); $("stage").classList.add("over"); });
  addEventListener("dragleave", () => $("stage").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("over");
    const [dropped] = event.dataTransfer.files;
    if (dropped) open(dropped, dropped.name);
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("sentence").value.trim()) find($("sentence").value);
    $("sentence").value = ""; // Ctrl+Z then takes back the finding, not the typing
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
  $("png").addEventListener("click", async () => {
    const picture = await png(viewer, visible(), changes.now);
    if (picture) save(picture, "sentalign.png");
    else say("The picture is too large for this browser to save.", true);
  });
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
    await showGallery($("gallery"), (number, sentences) => open(api.exampleFile(number), "Synthetic example", sentences));
  } catch (error) {
    say(error.message, true);
  }
}

begin();
