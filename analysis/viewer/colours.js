// What a state looks like: each view turns cells into colours.
import { picture } from "./lab.js";

const BLUE = [0, 114, 178], ORANGE = [213, 94, 0];

export const VIEWS = [
  ["body", "Body"], ["channel", "Channel"], ["rgb", "RGB"], ["pcs", "PCs"], ["alive", "Alive"], ["update", "Update"],
];

const mix = (from, to, share) => [0, 1, 2].map((n) => from[n] + (to[n] - from[n]) * share);

/** A signed number, -1..1, on a ground: blue below zero, orange above. */
export function signed(value, ground) {
  const size = Math.min(Math.abs(value), 1);
  return mix(ground, value < 0 ? BLUE : ORANGE, 0.08 + 0.92 * size ** 0.8);
}

/** A size, 0..1, on a ground. */
export const sized = (value, ground, ink) => {
  const size = Math.sqrt(Math.min(Math.max(value, 0), 1));
  return size < 0.6 ? mix(ground, ORANGE, size / 0.6) : mix(ORANGE, ink, ((size - 0.6) / 0.4) * 0.75);
};

/** A cell's place along a component; 0 where there is none of that number. */
export function score(axes, state, cell, C, k) {
  let sum = 0;
  if (k < axes.count) for (let c = 0; c < C; c++) sum += (state[cell * C + c] - axes.mean[c]) * axes.rows[k * C + c];
  return sum;
}

/**
 * The colours of all cells.
 *
 * @param look {kind, channel, rgb}
 * @param data the organism, with axes unpacked
 * @param shot {state, alive, moved}
 * @param theme {dish, ink}, each of three numbers up to 255
 * @param image ImageData of the canvas's size
 */
export function paint(look, data, shot, theme, image) {
  const { spec, limits } = data, C = spec.channels, { state, alive } = shot, rgba = [0, 0, 0, 0];
  const largest = look.kind === "update" ? updateLimit(data, shot.moved) : 0;
  const tint = (value, c) => 255 * Math.min(Math.max(0.5 + (0.5 * value) / limits[c], 0), 1);
  for (let cell = 0; cell < alive.length; cell++) {
    let colour = theme.dish;
    if (look.kind === "body") {
      picture(spec, state, cell, rgba);
      colour = [0, 1, 2].map((n) => 255 * rgba[n] + theme.dish[n] * (1 - rgba[3]));
    } else if (look.kind === "update") {
      if (shot.moved[cell] > 0) colour = sized(shot.moved[cell] / largest, theme.dish, theme.ink);
    } else if (alive[cell]) {
      if (look.kind === "channel") colour = signed(state[cell * C + look.channel] / limits[look.channel], theme.dish);
      else if (look.kind === "rgb") colour = look.rgb.map((c) => tint(state[cell * C + c], c));
      else if (look.kind === "pcs") {
        colour = [0, 1, 2].map((k) => 127.5 + (127.5 * score(data.axes, state, cell, C, k)) / (data.axes.spans[k] ?? 1));
      } else colour = mix(theme.dish, theme.ink, isMature(spec, state[cell * C + spec.alpha]) ? 0.85 : 0.25);
    }
    put(image, cell, colour);
  }
}

/** The difference of two states, in the view's own terms. */
export function paintDifference(look, data, shot, theme, image) {
  const { spec, limits } = data, C = spec.channels, { state, twin } = shot;
  const a = [0, 0, 0, 0], b = [0, 0, 0, 0];
  const apart = (cell) => {
    if (look.kind === "body") {
      picture(spec, state, cell, a);
      picture(spec, twin, cell, b);
      return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]);
    }
    const picked = look.kind === "rgb" ? look.rgb : null;
    let sum = 0;
    if (look.kind === "pcs") {
      const gap = (k) => score(data.axes, state, cell, C, k) - score(data.axes, twin, cell, C, k);
      return Math.hypot(...[0, 1, 2].map((k) => gap(k) / (2 * (data.axes.spans[k] ?? 1))));
    }
    for (let c = 0; c < C; c++) {
      if (!picked || picked.includes(c)) sum += ((state[cell * C + c] - twin[cell * C + c]) / (2 * limits[c])) ** 2;
    }
    return Math.sqrt(picked ? sum : sum / C);
  };
  for (let cell = 0; cell < shot.alive.length; cell++) {
    const at = cell * C;
    let colour = theme.dish;
    if (look.kind === "channel") {
      const gap = (state[at + look.channel] - twin[at + look.channel]) / limits[look.channel];
      if (Math.abs(gap) > 1e-6) colour = signed(gap, theme.dish);
    } else if (look.kind === "alive") {
      const gap = isMature(spec, state[at + spec.alpha]) - isMature(spec, twin[at + spec.alpha]);
      if (gap) colour = signed(gap, theme.dish);
    } else {
      const gap = apart(cell);
      if (gap > 1e-6) colour = sized(gap, theme.dish, theme.ink);
    }
    put(image, cell, colour);
  }
}

/** Whether an alpha makes a cell one of the body. */
export function isMature(spec, alpha) {
  const least = Math.fround(spec.threshold);
  return spec.inclusive ? alpha >= least : alpha > least;
}

/** Living sites of a state, by the rule's own test. */
export function sites(data, state) {
  const [height, width] = data.canvas, { spec } = data, C = spec.channels, out = new Uint8Array(height * width);
  const wraps = spec.alive_boundary === "circular", least = Math.fround(spec.threshold);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const alpha = state[(y * width + x) * C + spec.alpha];
    if (!(spec.inclusive ? alpha >= least : alpha > least)) continue;
    for (let j = y - 1; j <= y + 1; j++) for (let i = x - 1; i <= x + 1; i++) {
      const inside = j >= 0 && i >= 0 && j < height && i < width;
      if (inside || wraps) out[((j + height) % height) * width + ((i + width) % width)] = 1;
    }
  }
  return out;
}

function updateLimit(data, moved) {
  let most = 1e-6;
  for (let cell = 0; cell < moved.length; cell++) if (moved[cell] > most) most = moved[cell];
  data.mostMoved = Math.max(most, (data.mostMoved ?? 0) * 0.98);
  return data.mostMoved;
}

function put(image, cell, colour) {
  const at = cell * 4;
  image.data[at] = colour[0];
  image.data[at + 1] = colour[1];
  image.data[at + 2] = colour[2];
  image.data[at + 3] = 255;
}

/** What the colours of a view mean: low and high end with their labels, or a sentence. */
export function legend(look, data) {
  const show = (v) => (v >= 10 ? v.toFixed(0) : v.toPrecision(2));
  if (look.kind === "channel") {
    const limit = show(data.limits[look.channel]);
    return { low: "−" + limit, middle: "0", high: limit, ramp: "signed" };
  }
  if (look.kind === "update") return { low: "0", high: show(data.mostMoved ?? 0), ramp: "sized", text: "length of a cell’s update" };
  if (look.kind === "rgb") return { text: look.rgb.map((c, n) => `${["red", "green", "blue"][n]}: ${data.channels[c]}`).join(" · ") };
  if (look.kind === "pcs") {
    const share = (k) => `PC${k + 1} ${Math.round(100 * data.axes.explained[k])} %`;
    return { text: ["red", "green", "blue"].slice(0, data.axes.count).map((name, k) => `${name}: ${share(k)}`).join(" · ") };
  }
  if (look.kind === "alive") return { text: "dark: cells of the body · light: living sites around them" };
  return { text: "" };
}
