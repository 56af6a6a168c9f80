// The list of sentences: colour, score, whether it is shown, and a button that removes it.

import { COLOURS, css } from "./draw.js";

// `events.toggle(sentence)` and `events.remove(sentence)` are called on clicks.
export function showList(list, findings, found, events) {
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  list.replaceChildren(...findings.map(({ sentence, colour, visible }) => {
    const item = document.createElement("li");
    const check = Object.assign(document.createElement("input"), { type: "checkbox", checked: visible });
    check.style.accentColor = css(COLOURS[colour]);
    check.setAttribute("aria-label", `Show: ${sentence}`);
    check.addEventListener("change", () => events.toggle(sentence));
    const text = document.createElement("div");
    text.textContent = sentence;
    text.style.borderLeft = `4px solid ${css(COLOURS[colour])}`;
    text.style.paddingLeft = ".5rem";
    text.append(Object.assign(document.createElement("small"), { textContent: summary(found.get(sentence)) }));
    const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    remove.setAttribute("aria-label", `Remove: ${sentence}`);
    remove.addEventListener("click", () => events.remove(sentence));
    item.append(check, text, remove);
    return item;
  }));
  if (focused) [...list.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
}

export function summary(one) {
  if (!one.peak) return "constant map: nothing found";
  return `score ${one.score.toFixed(2)}, peak at ${one.peak.x}, ${one.peak.y}`;
}
