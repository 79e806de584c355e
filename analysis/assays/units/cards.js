// Cards of hidden units: sorted, filtered, pinned to be compared. All numbers come from the page's own JSON.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const svgNode = (name, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  return node;
};
const element = (name, className, text) => {
  const node = document.createElement(name);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const shown = (value, digits = 2) => (value === null ? "not defined" : value.toFixed(digits).replace("-", "\u2212"));

const [height, width] = data.size;
const maps = Uint8Array.from(atob(data.maps), (c) => c.charCodeAt(0)); // (frame, unit, y, x)
const bodies = Uint8Array.from(atob(data.bodies), (c) => c.charCodeAt(0)); // (frame, y, x)

function drawMap(canvas, frame, unit) {
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), cells = height * width;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const low = dark ? [42, 47, 55] : [239, 236, 228], high = dark ? [255, 196, 120] : [8, 48, 107];
  for (let n = 0; n < cells; n++) {
    if (!bodies[frame * cells + n]) continue;
    const share = maps[(frame * data.units.length + unit) * cells + n] / 255;
    for (let k = 0; k < 3; k++) image.data[4 * n + k] = low[k] + share * (high[k] - low[k]);
    image.data[4 * n + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function drawCourse(svg, unit) {
  const values = data.course[unit], top = Math.max(...values, 1e-9), count = values.length;
  const x = (n) => (150 * n) / Math.max(count - 1, 1);
  const points = values.map((v, n) => `${x(n).toFixed(1)},${(27 - (24 * v) / top).toFixed(1)}`);
  data.phase_starts.slice(1).forEach((n) => {
    svg.append(svgNode("line", { x1: x(n - 0.5), x2: x(n - 0.5), y1: 2, y2: 28, stroke: "var(--line)" }));
    points[n] = `M${points[n]}`;
  });
  const path = "M" + points.join("L").replaceAll("LM", "M");
  svg.append(svgNode("path", { d: path, fill: "none", stroke: "var(--blue)", "stroke-width": 1.3 }));
}

function drawFitness(svg, unit) {
  const length = (w) => 100 * Math.min(1.1, Math.max(0, w));
  data.phases.forEach((phase, n) => {
    const y = 34 + 11 * n, label = svgNode("text", { x: 0, y: y + 8, "font-size": 8, fill: "var(--soft)" });
    label.textContent = phase === "regenerating" ? "cut" : phase;
    svg.append(label, svgNode("rect", { x: 36, y: y + 1, width: 100, height: 8, fill: "var(--line)", opacity: 0.6 }));
    const mean = unit[`fitness_${phase}_mean`] ?? null, zero = unit[`fitness_${phase}_zero`] ?? null;
    const colour = (w) => (w < 0.95 ? "var(--accent)" : "var(--green)");
    if (mean !== null) svg.append(svgNode("rect", { x: 36, y: y + 1, width: length(mean), height: 8, fill: colour(mean) }));
    if (zero !== null) svg.append(svgNode("rect", { x: 35 + length(zero), y, width: 1.6, height: 10, fill: "var(--ink)" }));
  });
}

function drawWiring(svg, unit) {
  const y = 38 + 11 * data.phases.length, read = data.read[unit.unit], most = Math.max(...read.flat(), 1e-9);
  read.forEach((row, f) => row.forEach((value, g) => svg.append(
    svgNode("rect", { x: 9 * g, y: y + 9 * f, width: 8, height: 8, fill: "var(--blue)", opacity: 0.06 + (0.94 * value) / most }))));
  const write = data.write[unit.unit], top = Math.max(...write.map(Math.abs), 1e-9);
  const colours = ["#d5402b", "#3c9a3c", "#3b6fd5", "var(--ink)", "var(--soft)"];
  write.forEach((value, n) => {
    const size = (12 * Math.abs(value)) / top, x = 60 + 17 * n;
    svg.append(svgNode("rect", { x, y: value > 0 ? y + 13 - size : y + 13, width: 11, height: size, fill: colours[n] }));
  });
  svg.append(svgNode("line", { x1: 57, x2: 145, y1: y + 13, y2: y + 13, stroke: "var(--soft)", "stroke-width": 0.6 }));
}

const pinned = new Set();
function makeCard(unit) {
  const card = element("button", "card"), head = element("div", "head", `unit ${unit.unit}`);
  head.append(element("small", "", unit.family ? `family ${unit.family}` : "quiet in the adult"));
  const canvas = element("canvas", "");
  [canvas.width, canvas.height] = [width, height];
  const rows = Math.max(26, 9 * (data.read[unit.unit].length || 1));
  const svg = svgNode("svg", { viewBox: `0 0 150 ${40 + 11 * data.phases.length + rows}`, role: "img" });
  drawCourse(svg, unit.unit);
  drawFitness(svg, unit);
  drawWiring(svg, unit);
  const loss = unit.loss === undefined ? "" : `costs up to ${shown(unit.loss)} (${unit.loss_phase}). `;
  const text = element("div", "text", `${loss}Reads ${unit.reads}; writes ${unit.writes}. Like ${unit.neighbours || "none"}.`);
  card.append(head, canvas, svg, text);
  card.title = `Most alike by co-activation: ${unit.neighbours} (r ${unit.neighbour_correlations})`;
  card.addEventListener("click", () => {
    if (!pinned.delete(unit.unit)) pinned.add(unit.unit);
    arrange();
  });
  return { card, canvas, unit };
}

const orders = [["number", (u) => u.unit], ["most needed", (u) => -(u.loss ?? 0)]];
for (const phase of data.phases) orders.push([`most needed, ${phase}`, (u) => u[`fitness_${phase}_mean`] ?? u[`fitness_${phase}_zero`] ?? 9]);
orders.push(["family", (u) => u.family || 99], ["peak of activity", (u) => data.course[u.unit].indexOf(Math.max(...data.course[u.unit]))],
  ["variance written", (u) => -u.variance], ["raises alpha most", (u) => -u.writes_alpha], ["lowers alpha most", (u) => u.writes_alpha],
  ["suppresses what it reads", (u) => -u.suppression]);
const fill = (id, names) => names.forEach((name, n) => by(id).append(new Option(name, n)));
fill("order", orders.map((o) => o[0]));
fill("family", ["all", ...data.families]);
fill("frame", data.frames);
by("order").value = 1;
by("frame").value = data.first_frame;
const cards = data.units.map(makeCard);

function arrange() {
  const key = orders[by("order").value][1], family = Number(by("family").value);
  const numbers = (by("numbers").value.match(/\d+/g) || []).map(Number);
  const visible = cards.filter(({ unit }) => pinned.has(unit.unit) ||
    ((!family || unit.family === family) && (!numbers.length || numbers.includes(unit.unit))));
  visible.sort((a, b) => pinned.has(b.unit.unit) - pinned.has(a.unit.unit) || key(a.unit) - key(b.unit) || a.unit.unit - b.unit.unit);
  for (const { card, unit } of visible) {
    card.classList.toggle("pinned", pinned.has(unit.unit));
    card.setAttribute("aria-pressed", pinned.has(unit.unit));
  }
  by("cards").replaceChildren(...visible.map((c) => c.card));
  by("count").textContent = `${visible.length} of ${cards.length} units`;
}
function repaint() {
  for (const { canvas, unit } of cards) drawMap(canvas, Number(by("frame").value), unit.unit);
}
for (const id of ["order", "family", "numbers"]) by(id).addEventListener("input", arrange);
by("frame").addEventListener("input", repaint);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
repaint();
arrange();
