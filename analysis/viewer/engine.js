// One step of a growing neural cellular automaton, as nca/step.py defines it, with jax's random numbers.
//
// A state is a Float32Array of (cells + 1) * channels: cells row by row, and one cell of zeros at the end,
// which stands for everything beyond the canvas. Arithmetic is in double precision.

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];

/** Threefry-2x32, 20 rounds (Salmon et al. 2011): two words of a key and two of a counter make two words. */
export function threefry(k0, k1, c0, c1, out) {
  const k2 = k0 ^ k1 ^ 0x1bd11bda;
  let x = (c0 + k0) | 0, y = (c1 + k1) | 0;
  for (let block = 0; block < 5; block++) {
    const first = (block & 1) * 4;
    for (let i = first; i < first + 4; i++) {
      const r = ROTATIONS[i];
      x = (x + y) | 0;
      y = ((y << r) | (y >>> (32 - r))) ^ x;
    }
    const n = block % 3;
    x = (x + (n === 0 ? k1 : n === 1 ? k2 : k0)) | 0;
    y = (y + (n === 0 ? k2 : n === 1 ? k0 : k1) + block + 1) | 0;
  }
  out[0] = x;
  out[1] = y;
  return out;
}

/** jax.random.fold_in(key, number). */
export const foldIn = (key, number) => threefry(key[0], key[1], 0, number, new Int32Array(2));

/** nca.run_key(seed, run): the key of a run. */
export const runKey = (seed, run) => foldIn(new Int32Array([0, seed]), run);

const word = new Int32Array(2);

/** Whether a cell fires in the step whose key this is: jax.random.uniform(key, canvas)[cell] <= rate. */
export function fires(key, cell, rate) {
  threefry(key[0], key[1], 0, cell, word);
  return ((word[0] ^ word[1]) >>> 9) * 2 ** -23 <= Math.fround(rate);
}

/** Float32 numbers from base64. */
export function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

/** Everything that the steps of an organism need, with room to work in. */
export function prepare(organism) {
  const { spec, canvas } = organism;
  const [height, width] = canvas, cells = height * width;
  const layers = organism.layers.map(({ inputs, outputs, weights, bias }) => ({
    inputs, outputs, weights: transposed(floats(weights), inputs, outputs), bias: Float64Array.from(floats(bias)),
  }));
  const most = Math.max(...layers.map((l) => Math.max(l.inputs, l.outputs)));
  return {
    spec, height, width, cells, channels: spec.channels, layers,
    angle: organism.angle,
    kernels: organism.kernels && { ...organism.kernels, values: floats(organism.kernels.values) },
    near: neighbours(height, width, spec.boundary === "circular"),
    around: neighbours(height, width, spec.alive_boundary === "circular"),
    threshold: Math.fround(spec.threshold),
    before: new Uint8Array(cells + 1), needed: new Uint8Array(cells + 1), rows: new Int32Array(cells),
    masked: spec.reads === "masked" ? new Float32Array((cells + 1) * spec.channels) : null,
    updated: new Float32Array((cells + 1) * spec.channels),
    input: new Float64Array(CHUNK * most), output: new Float64Array(CHUNK * most),
  };
}

const CHUNK = 64; // rows that go through the layers at a time, so that they stay in the cache

const transposed = (values, inputs, outputs) =>
  Float64Array.from({ length: inputs * outputs }, (_, n) => values[(n % inputs) * outputs + Math.floor(n / inputs)]);

/** Numbers of the nine cells around each, row by row; beyond an open edge, that of the empty cell. */
function neighbours(height, width, wraps) {
  const table = new Int32Array(height * width * 9);
  let n = 0;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    for (let j = y - 1; j <= y + 1; j++) for (let i = x - 1; i <= x + 1; i++) {
      const inside = j >= 0 && j < height && i >= 0 && i < width;
      const v = (j + height) % height, u = (i + width) % width;
      table[n++] = inside || wraps ? v * width + u : height * width;
    }
  }
  return table;
}

/** Whether a site is alive: the largest alpha of the nine cells passes the threshold. */
function isAlive(rule, state, cell) {
  const { around, channels, spec, threshold } = rule;
  for (let n = cell * 9; n < cell * 9 + 9; n++) {
    const alpha = state[around[n] * channels + spec.alpha];
    if (around[n] < rule.cells && (spec.inclusive ? alpha >= threshold : alpha > threshold)) return true;
  }
  return false;
}

/** Living sites of a state, 0 or 1 for each cell. */
export function alive(rule, state, out = new Uint8Array(rule.cells)) {
  for (let cell = 0; cell < rule.cells; cell++) out[cell] = isAlive(rule, state, cell) ? 1 : 0;
  return out;
}

/** Whether a cell is one of the body: its own alpha passes the threshold. */
export function mature(rule, state, cell) {
  const alpha = state[cell * rule.channels + rule.spec.alpha];
  return rule.spec.inclusive ? alpha >= rule.threshold : alpha > rule.threshold;
}

/**
 * The state after a step.
 *
 * @param rule of `prepare`
 * @param state s_t, already edited
 * @param key of the step: foldIn(runKey(seed, run), t)
 * @param angle by which perception is rotated in addition
 * @param next receives s_t+1; another array than `state`
 * @param moved if given, receives the length of each cell's update
 * @param fire if given, the mask (0 or 1 for each cell) in place of the one that the key draws
 */
export function step(rule, state, key, angle, next, moved = null, fire = null) {
  const { cells, channels, before, updated, spec } = rule;
  const where = spec.alive;
  alive(rule, state, before);
  const count = collect(rule, key, fire);
  const read = rule.masked ? mask(rule, state) : state;
  updated.set(state);
  if (moved) moved.fill(0);
  for (let first = 0; first < count; first += CHUNK) {
    const many = Math.min(CHUNK, count - first);
    for (let r = 0; r < many; r++) perceive(rule, read, rule.rows[first + r], angle, r);
    const delta = respond(rule, many);
    for (let r = 0; r < many; r++) add(rule, delta, r, rule.rows[first + r], moved);
  }
  if (spec.clip) {
    const [low, high] = spec.clip;
    for (let n = 0; n < cells * channels; n++) updated[n] = Math.min(Math.max(updated[n], low), high);
  }
  next.set(updated);
  if (where === "gate" || where === "none") return count;
  for (let cell = 0; cell < cells; cell++) {
    const dead = where !== "after" && !before[cell] || where !== "before" && !isAlive(rule, updated, cell);
    if (dead) {
      next.fill(0, cell * channels, (cell + 1) * channels);
    }
  }
  return count;
}

// The firing cells that matter: among living sites and the ring around them, whose alpha still counts after
// the step; everywhere, for a rule that does not ask who lived before.
function collect(rule, key, fire) {
  const { cells, before, near, around, needed, rows, spec } = rule;
  const dense = spec.alive === "after" || spec.alive === "none";
  needed.fill(dense ? 1 : 0);
  if (spec.alive === "before" || spec.alive === "gate") needed.set(before);
  else if (!dense) {
    for (let cell = 0; cell < cells; cell++) {
      if (before[cell]) for (let n = cell * 9; n < cell * 9 + 9; n++) needed[around[n]] = 1;
    }
  }
  let count = 0;
  for (let cell = 0; cell < cells; cell++) {
    if (needed[cell] && (fire ? fire[cell] : fires(key, cell, spec.fire_rate))) rows[count++] = cell;
  }
  return count;
}

function mask(rule, state) {
  const { masked, before, cells, channels } = rule;
  masked.set(state);
  for (let cell = 0; cell < cells; cell++) {
    if (!before[cell]) masked.fill(0, cell * channels, (cell + 1) * channels);
  }
  return masked;
}

/** What a cell sees, written into a row of the input: feature filter * channels + channel. */
function perceive(rule, state, cell, rotation, row) {
  const { channels: C, spec, near, input, kernels } = rule;
  const start = row * rule.layers[0].inputs;
  const at = near.subarray(cell * 9, cell * 9 + 9);
  if (kernels) {
    const { filters, depth, values } = kernels;
    for (let f = 0; f < filters; f++) for (let c = 0; c < C; c++) {
      const k = (f * depth + (depth === 1 ? 0 : c)) * 9;
      let sum = 0;
      for (let n = 0; n < 9; n++) sum += values[k + n] * state[at[n] * C + c];
      input[start + f * C + c] = sum;
    }
    return;
  }
  const angle = rule.angle + rotation + (spec.steer === null ? 0 : state[cell * C + spec.steer]);
  const cos = Math.cos(angle), sin = Math.sin(angle), seen = spec.perception;
  const nw = at[0] * C, n = at[1] * C, ne = at[2] * C, w = at[3] * C, e = at[5] * C;
  const sw = at[6] * C, s = at[7] * C, se = at[8] * C, here = cell * C;
  for (let c = 0; c < C; c++) {
    const a = state[nw + c], b = state[ne + c], d = state[sw + c], g = state[se + c];
    const up = state[n + c], down = state[s + c], left = state[w + c], right = state[e + c], own = state[here + c];
    const dx = (b - a + 2 * (right - left) + g - d) / 8;
    const dy = (d - a + 2 * (down - up) + g - b) / 8;
    const round = (a + b + d + g + 2 * (up + down + left + right) - 12 * own) / 16;
    const f = start + c;
    input[f] = own;
    if (seen === "laplacian") input[f + C] = round;
    else if (seen === "isotropic") {
      input[f + C] = round;
      input[f + 2 * C] = Math.sqrt(dx * dx + dy * dy + 1e-8);
    } else {
      input[f + C] = cos * dx - sin * dy;
      input[f + 2 * C] = sin * dx + cos * dy;
      if (seen === "sobel-laplacian") input[f + 3 * C] = round;
    }
  }
}

/** The dense layers, of so many rows of the input: the array that holds the deltas. */
function respond(rule, many) {
  let from = rule.input, to = rule.output;
  rule.layers.forEach((layer, number) => {
    dense(layer, from, many, to);
    if (number < rule.layers.length - 1) {
      activate(rule.spec, to, many * layer.outputs);
    }
    [from, to] = [to, from];
  });
  return from;
}

const ACTIVATIONS = {
  tanh: Math.tanh,
  sigmoid: x => 1 / (1 + Math.exp(-x)),
  elu: x => x > 0 ? x : Math.expm1(x),
  swish: x => x / (1 + Math.exp(-x)),
  gelu: x => x / 2 * (1 + erf(x / Math.SQRT2)),
  "gelu-tanh": x => x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
};

/** The first values of a hidden layer, through its activation. */
function activate(spec, values, count) {
  const slope = spec.activation_slope, other = ACTIVATIONS[spec.activation];
  if (other) for (let n = 0; n < count; n++) values[n] = other(values[n]);
  else for (let n = 0; n < count; n++) if (!(values[n] > 0)) values[n] *= slope;
}

/** The error function, within 2e-7 (Abramowitz and Stegun 1964, 7.1.26). */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}

/** to = from . weights + bias; four rows and two units at a time, which keeps the sums in registers. */
function dense({ inputs: I, outputs: O, weights, bias }, from, many, to) {
  for (let r = 0; r < many; r += 4) {
    const a = r * I, b = Math.min(r + 1, many - 1) * I;
    const c = Math.min(r + 2, many - 1) * I, d = Math.min(r + 3, many - 1) * I;
    for (let j = 0; j < O; j += 2) {
      const p = j * I, q = Math.min(j + 1, O - 1) * I;
      let a0 = bias[j], b0 = a0, c0 = a0, d0 = a0;
      let a1 = bias[Math.min(j + 1, O - 1)], b1 = a1, c1 = a1, d1 = a1;
      for (let i = 0; i < I; i++) {
        const u = weights[p + i], v = weights[q + i];
        const xa = from[a + i], xb = from[b + i], xc = from[c + i], xd = from[d + i];
        a0 += u * xa; b0 += u * xb; c0 += u * xc; d0 += u * xd;
        a1 += v * xa; b1 += v * xb; c1 += v * xc; d1 += v * xd;
      }
      // The last rows first, so that a row past the end is overwritten by the row it stood for.
      const two = j + 1 < O;
      put(to, Math.min(r + 3, many - 1) * O + j, d0, d1, two);
      put(to, Math.min(r + 2, many - 1) * O + j, c0, c1, two);
      put(to, Math.min(r + 1, many - 1) * O + j, b0, b1, two);
      put(to, r * O + j, a0, a1, two);
    }
  }
}

function put(to, at, first, second, two) {
  to[at] = first;
  if (two) to[at + 1] = second;
}

function add(rule, delta, row, cell, moved) {
  const { channels: C, spec, updated } = rule;
  let square = 0;
  for (let c = 0; c < C; c++) {
    const d = delta[row * C + c];
    const u = spec.squash === "tanh" ? Math.tanh(d) : d;
    updated[cell * C + c] += u;
    square += u * u;
  }
  if (moved) moved[cell] = Math.sqrt(square);
}
