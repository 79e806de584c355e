// The keys, in a dialog.
import { h } from "./dom.js";

const KEYS = [
  ["Space", "play or pause"], ["→ or .", "one step"], ["← or ,", "one step back"], ["R", "grow again from the seed"],
  ["L W S G", "look, wound, seed, graft"], ["[ ]", "smaller, larger brush"], ["1 – 6", "views"], ["C V", "previous, next channel"],
  ["T", "control and difference"], ["{ }", "turn the compass"], ["Arrows, Enter", "on the dish: walk from cell to cell, use the hand"],
];

/** What the keys do. */
export function helpDialog() {
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog", { "aria-label": "Keys" }, h("h2", {}, "Keys"),
    h("dl", {}, KEYS.map(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])), close);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
