// An organism on the table: its state, what was done to it and when, its recent past and its control (`twin`).
import { alive, floats, foldIn, mature, prepare, runKey, step } from "./engine.js";

const EXPLODED = 1000, PAST = 400, MEMORY = 48e6; // bytes of recent past, for each of organism and twin

/** The picture of a cell, premultiplied RGBA clipped to 0..1, as nca.visible gives it. */
export function picture(spec, state, cell, out) {
  const C = spec.channels, at = cell * C, clip = (v) => Math.min(Math.max(v, 0), 1);
  const alpha = clip(state[at + spec.alpha]);
  out[3] = alpha;
  if (C < 4 || spec.alpha > 3) {
    out[0] = out[1] = out[2] = alpha * 0.4;
    return out;
  }
  let n = 0;
  for (let c = 0; c < 4; c++) {
    if (c !== spec.alpha) out[n++] = clip(state[at + c]) * (spec.premultiplied ? 1 : alpha);
  }
  return out;
}

/** The seed in the middle of an empty canvas. */
export function seeded(organism, rule) {
  const [tall, broad] = organism.seed.shape, { height, width, channels } = rule;
  const top = Math.min((height >> 1) - (tall >> 1), height - tall);
  const left = Math.min((width >> 1) - (broad >> 1), width - broad);
  const values = floats(organism.seed.values), state = new Float32Array((rule.cells + 1) * channels);
  for (let y = 0; y < tall; y++) {
    const row = values.subarray(y * broad * channels, (y + 1) * broad * channels);
    state.set(row, ((top + y) * width + left) * channels);
  }
  return state;
}

/**
 * A laboratory with one organism in it.
 *
 * Changes are kept as a log: `sets` (cells set to values once), `gains` (a factor of a channel or of a principal
 * component from a step on) and `compass` (a turn from a step on). Going back in time and acting there drops
 * what came later.
 */
export function openLab(organism, { seed = 0, run = 0 } = {}) {
  const rule = prepare(organism), { channels: C, cells } = rule;
  const axes = organism.axes && { ...organism.axes, rows: floats(organism.axes.directions), mean: floats(organism.axes.mean) };
  const goal = organism.target && floats(organism.target);
  const own = strand(rule), twin = { ...strand(rule), on: false };
  const wanted = { channel: new Float64Array(C).fill(1), pc: new Float64Array(axes ? axes.count : 0).fill(1), compass: 0 };
  const read = new Float32Array((cells + 1) * C), moved = new Float32Array(cells), twinMoved = new Float32Array(cells);
  let key, log, series, exploded;

  function reset(next = {}) {
    seed = next.seed ?? seed;
    run = next.run ?? run;
    key = runKey(seed, run);
    log = { sets: [], gains: [], compass: wanted.compass ? [{ step: 0, angle: wanted.compass }] : [] };
    for (const kind of ["channel", "pc"]) {
      wanted[kind].forEach((gain, index) => gain !== 1 && log.gains.push({ step: 0, kind, index, gain }));
    }
    series = { error: [], mature: [], apart: [] };
    exploded = null;
    begin(own, seeded(organism, rule));
    begin(twin, own.state);
    moved.fill(0);
    measure();
  }

  const angleAt = (t) => log.compass.reduce((now, change) => (change.step <= t ? change.angle : now), 0);

  function gainsAt(t, kind) {
    const now = new Float64Array(wanted[kind].length).fill(1);
    for (const change of log.gains) if (change.kind === kind && change.step <= t) now[change.index] = change.gain;
    return now;
  }

  /** What step t reads of a state: channels scaled, then components. */
  function lesioned(state, t) {
    read.set(state);
    gainsAt(t, "channel").forEach((gain, c) => {
      if (gain !== 1) for (let n = c; n < cells * C; n += C) read[n] *= gain;
    });
    gainsAt(t, "pc").forEach((gain, k) => gain !== 1 && project(k, gain));
    return read;
  }

  function project(k, keep) {
    const row = axes.rows.subarray(k * C, (k + 1) * C);
    const centre = dot(row, axes.mean, 0, C);
    for (let cell = 0; cell < cells; cell++) {
      const at = cell * C;
      let some = false;
      for (let c = 0; c < C && !some; c++) some = read[at + c] !== 0;
      if (!some) continue; // the void stays as it is
      const along = (dot(row, read, at, C) - centre) * (1 - keep);
      for (let c = 0; c < C; c++) read[at + c] -= along * row[c];
    }
  }

  function advance() {
    if (exploded !== null) return false;
    branch();
    step(rule, lesioned(own.state, own.t), foldIn(key, own.t), angleAt(own.t), own.spare, moved);
    passed(own);
    if (twin.on && twin.t === own.t - 1) follow();
    measure();
    return exploded === null;
  }

  /** One step of the twin: same fire masks, nothing done to it. */
  function follow() {
    step(rule, twin.state, foldIn(key, twin.t), 0, twin.spare, twinMoved);
    passed(twin);
  }

  /** Let the twin come nearer to the organism's step, for so many milliseconds; whether it is there. */
  function catchUp(span = 20) {
    const end = performance.now() + span;
    if (twin.on && twin.t > own.t && !recall(twin, own.t)) begin(twin, seeded(organism, rule));
    while (twin.on && twin.t < own.t && performance.now() < end) follow();
    if (twin.on && twin.t === own.t) measure();
    return !twin.on || twin.t === own.t;
  }

  function measure() {
    let bodies = 0, worst = 0, off = 0, apart = 0;
    const a = [0, 0, 0, 0], b = [0, 0, 0, 0], both = twin.on && twin.t === own.t;
    for (let cell = 0; cell < cells; cell++) {
      if (mature(rule, own.state, cell)) bodies++;
      picture(rule.spec, own.state, cell, a);
      if (goal) for (let c = 0; c < 4; c++) off += (a[c] - goal[cell * 4 + c]) ** 2;
      if (both) {
        picture(rule.spec, twin.state, cell, b);
        for (let c = 0; c < 4; c++) apart += (a[c] - b[c]) ** 2;
      }
    }
    for (let n = 0; n < cells * C; n++) if (!(Math.abs(own.state[n]) <= worst)) worst = Math.abs(own.state[n]);
    if (!(worst <= EXPLODED)) exploded = own.t;
    series.error[own.t] = goal ? off / (72 * 72 * 4) : NaN;
    series.mature[own.t] = bodies;
    series.apart[own.t] = both ? apart / (72 * 72 * 4) : NaN;
  }

  /** What was done after the step at hand is undone: from here on there is another future. */
  function branch() {
    const t = own.t, until = (list) => list.filter((change) => change.step <= t);
    log = { sets: until(log.sets), gains: until(log.gains), compass: until(log.compass) };
    forget(own);
    for (const name in series) series[name].length = Math.min(series[name].length, t + 1);
  }

  function seek(t) {
    if (!recall(own, Math.min(Math.max(t, own.first), own.last))) return;
    exploded = null;
    moved.fill(0);
    const before = own.past.get(own.t - 1);
    if (before) {
      unpack(before, own.spare, C);
      step(rule, lesioned(own.spare, own.t - 1), foldIn(key, own.t - 1), angleAt(own.t - 1), new Float32Array(read.length), moved);
    }
    if (twin.on && !recall(twin, own.t) && twin.t > own.t) begin(twin, seeded(organism, rule));
    if (twin.on) twinMoved.fill(0);
    measure();
  }

  /** Cells set to values once: wounds (no values), seeds, grafts. */
  function set(places, values = null, what = "wound") {
    branch();
    const t = own.t, last = log.sets.at(-1);
    places.forEach((cell, n) => {
      const row = values ? values.subarray(n * C, (n + 1) * C) : null;
      if (row) own.state.set(row, cell * C);
      else own.state.fill(0, cell * C, (cell + 1) * C);
    });
    if (last && last.step === t && !values && !last.values) last.places = [...new Set([...last.places, ...places])];
    else log.sets.push({ step: t, places: [...places], values: values && Float32Array.from(values), what });
    exploded = null;
    keep(own);
    measure();
  }

  /** A factor of a channel or of a component, now or from the next growth on. */
  function gain(kind, index, value, now) {
    wanted[kind][index] = value;
    if (!now) return;
    branch();
    log.gains = log.gains.filter((c) => c.kind !== kind || c.index !== index || c.step < own.t);
    if (gainsAt(own.t, kind)[index] !== value) log.gains.push({ step: own.t, kind, index, gain: value });
  }

  function turn(angle) {
    wanted.compass = angle;
    branch();
    log.compass = log.compass.filter((change) => change.step < own.t);
    if (angleAt(own.t) !== angle) log.compass.push({ step: own.t, angle });
  }

  reset();
  return {
    rule, axes, wanted, advance, catchUp, reset, seek, set, gain, turn, gainsAt, angleAt, moved, twinMoved,
    get t() { return own.t; },
    get state() { return own.state; },
    get log() { return log; },
    get series() { return series; },
    get exploded() { return exploded; },
    get past() { return [own.first, own.last]; },
    get place() { return { seed, run }; },
    get twin() { return twin; },
    alive: () => alive(rule, own.state),
    showTwin(on) {
      twin.on = on;
      if (on) catchUp();
      measure();
    },
  };
}

const dot = (row, values, at, C) => {
  let sum = 0;
  for (let c = 0; c < C; c++) sum += row[c] * values[at + c];
  return sum;
};

/** A state that moves through time, and the states that it had of late. */
function strand(rule) {
  const size = (rule.cells + 1) * rule.channels;
  return { C: rule.channels, state: new Float32Array(size), spare: new Float32Array(size), past: new Map(), t: 0, first: 0, last: 0, bytes: 0 };
}

function begin(strand, state) {
  strand.state.set(state);
  Object.assign(strand, { t: 0, first: 0, last: 0, bytes: 0, past: new Map() });
  keep(strand);
}

function passed(strand) {
  [strand.state, strand.spare] = [strand.spare, strand.state];
  strand.t += 1;
  keep(strand);
}

function keep(strand) {
  const { past, t } = strand, packed = pack(strand.state, strand.C);
  strand.bytes += packed.bytes - (past.get(t)?.bytes ?? 0);
  past.set(t, packed);
  strand.last = t;
  while (past.size > 2 && (past.size > PAST || strand.bytes > MEMORY)) {
    strand.bytes -= past.get(strand.first).bytes;
    past.delete(strand.first++);
  }
}

function recall(strand, t) {
  const packed = strand.past.get(t);
  if (!packed) return false;
  unpack(packed, strand.state, strand.C);
  strand.t = t;
  return true;
}

function forget(strand) {
  for (let t = strand.t + 1; t <= strand.last; t++) {
    strand.bytes -= strand.past.get(t)?.bytes ?? 0;
    strand.past.delete(t);
  }
  strand.last = strand.t;
}

/** The cells of a state that hold anything. */
function pack(state, C) {
  const cells = [];
  for (let n = 0; n < state.length; n++) if (state[n] !== 0) {
    const cell = Math.floor(n / C);
    cells.push(cell);
    n = cell * C + C - 1;
  }
  const values = new Float32Array(cells.length * C);
  cells.forEach((cell, n) => values.set(state.subarray(cell * C, (cell + 1) * C), n * C));
  return { cells: Int32Array.from(cells), values, bytes: values.byteLength + 4 * cells.length };
}

function unpack({ cells, values }, state, C) {
  state.fill(0);
  cells.forEach((cell, n) => state.set(values.subarray(n * C, (n + 1) * C), cell * C));
}
