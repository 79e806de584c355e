// Small drawings: curves of the run, a cell's state as bars, its place among the others.
import { isMature, score } from "./colours.js";
import { h, setText } from "./dom.js";

// Sizes are watched, since asking for one makes the browser lay out the page anew.
const sizes = new WeakMap();
const watch = typeof ResizeObserver === "undefined" ? null : new ResizeObserver((seen) => seen.forEach(({ target, contentRect }) => {
  sizes.set(target, [contentRect.width, contentRect.height]);
  target.dispatchEvent(new Event("resized", { bubbles: true }));
}));

/** A canvas ready to draw on, as sharp as the screen; its width and height in CSS pixels. */
export function sheet(canvas) {
  if (!sizes.has(canvas)) {
    sizes.set(canvas, [canvas.clientWidth, canvas.clientHeight]);
    watch?.observe(canvas);
  }
  const ratio = window.devicePixelRatio || 1, [width, height] = watch ? sizes.get(canvas) : [canvas.clientWidth, canvas.clientHeight];
  const size = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

/** Curves over the same steps; each {values, colour, width}, within low..high. */
export function curves(canvas, lines, low, high, theme) {
  const { pen, width, height } = sheet(canvas);
  const y = (v) => height - 3 - ((Math.min(Math.max(v, low), high) - low) / (high - low || 1)) * (height - 6);
  pen.strokeStyle = theme.line;
  pen.lineWidth = 1;
  for (const v of [low, high]) rule(pen, 0, Math.round(y(v)) + 0.5, width);
  for (const { values, colour, thick, fill } of lines) {
    const many = values.length, x = (n) => (many < 2 ? 0 : (n / Math.max(many - 1, 60)) * (width - 4)) + 1;
    pen.beginPath();
    let last = null;
    values.forEach((v, n) => {
      if (!Number.isFinite(v)) return;
      pen[last === null ? "moveTo" : "lineTo"](x(n), y(v));
      last = n;
    });
    pen.strokeStyle = colour;
    pen.lineWidth = thick ?? 1.6;
    pen.lineJoin = "round";
    pen.stroke();
    if (last === null) continue;
    if (fill) {
      pen.lineTo(x(last), y(low));
      pen.lineTo(x(values.findIndex(Number.isFinite)), y(low));
      pen.globalAlpha = 0.1;
      pen.fillStyle = colour;
      pen.fill();
      pen.globalAlpha = 1;
    }
    dot(pen, x(last), y(values[last]), 2.6, colour);
  }
}

/** A card with a curve, its name and its last number. */
export function graph(name, meaning) {
  const value = h("output", {}, "–"), canvas = h("canvas", { role: "img", "aria-label": name });
  const node = h("figure.graph", { title: meaning }, h("figcaption", {}, h("span", {}, name), value), canvas);
  return { node, name, draw: (lines, low, high, css, text) => {
    setText(value, text?.replace("-", "−") ?? "–");
    curves(canvas, lines, low, high, css);
  } };
}

/** A cell's state: a bar for each channel, up for positive. */
export function bars(canvas, names, values, limits, theme) {
  const { pen, width, height } = sheet(canvas);
  const top = 6, floor = height - 18, middle = (top + floor) / 2, wide = width / names.length;
  const inner = Math.max(1, Math.min(wide * 0.72, 16));
  pen.font = `${Math.min(10, Math.max(8, wide * 0.44))}px ${theme.font}`;
  pen.textAlign = "center";
  rule(pen, 0, Math.round(middle) + 0.5, width, theme.line);
  const every = Math.ceil(16 / wide);
  names.forEach((name, n) => {
    const x = n * wide + wide / 2;
    if (values) {
      const share = Math.min(Math.max(values[n] / limits[n], -1.15), 1.15);
      pen.fillStyle = share < 0 ? theme.blue : theme.accent;
      const tall = Math.max(Math.abs(share) * ((floor - top) / 2.3), 0.75);
      pen.fillRect(x - inner / 2, share < 0 ? middle : middle - tall, inner, tall);
    }
    pen.fillStyle = theme.soft;
    if (n % every === 0) pen.fillText(name === "alpha" ? "α" : name, x, height - 4);
  });
}

/** The body's cells on the first two components, and one of them marked. */
export function plane(canvas, data, shot, marked, theme) {
  const { pen, width, height } = sheet(canvas), { axes, spec } = data, C = spec.channels;
  if (!axes) return;
  const span = [0, 1].map((k) => 1.6 * (axes.spans[k] ?? 1));
  const x = (v) => width / 2 + (Math.min(Math.max(v / span[0], -1), 1) * (width - 14)) / 2;
  const y = (v) => height / 2 - (Math.min(Math.max(v / span[1], -1), 1) * (height - 14)) / 2;
  rule(pen, 0, Math.round(height / 2) + 0.5, width, theme.line);
  pen.beginPath();
  pen.moveTo(Math.round(width / 2) + 0.5, 0);
  pen.lineTo(Math.round(width / 2) + 0.5, height);
  pen.stroke();
  pen.globalAlpha = 0.28;
  pen.fillStyle = theme.blue;
  for (let cell = 0; cell < shot.alive.length; cell++) {
    if (!isMature(spec, shot.state[cell * C + spec.alpha])) continue;
    pen.fillRect(x(score(axes, shot.state, cell, C, 0)) - 1, y(score(axes, shot.state, cell, C, 1)) - 1, 2, 2);
  }
  pen.globalAlpha = 1;
  pen.font = `10px ${theme.font}`;
  pen.fillStyle = theme.soft;
  pen.textAlign = "right";
  pen.fillText("PC1", width - 2, height / 2 - 4);
  pen.textAlign = "left";
  if (axes.count > 1) pen.fillText("PC2", width / 2 + 5, 10);
  if (marked === null) return;
  const [u, v] = [0, 1].map((k) => score(axes, shot.state, marked, C, k));
  dot(pen, x(u), y(v), 6.5, theme.card);
  dot(pen, x(u), y(v), 4.5, theme.accent);
}

function rule(pen, x, y, width, colour) {
  if (colour) pen.strokeStyle = colour;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x + width, y);
  pen.stroke();
}

function dot(pen, x, y, radius, colour) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = colour;
  pen.fill();
}
