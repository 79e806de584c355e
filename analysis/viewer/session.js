// A session as JSON: what was done to which run, and when, in the form that `nca grow --edits` reads.

const base64 = (bytes) => {
  let text = "";
  for (let n = 0; n < bytes.length; n += 4096) text += String.fromCharCode(...bytes.subarray(n, n + 4096));
  return btoa(text);
};

/** The session of a lab; steps that set values come before lasting lesions, as they act. */
export function session(lab, organism) {
  const arrays = {}, { seed, run } = lab.place, log = lab.log;
  const edits = log.sets.map((change, n) => wounded(lab, change, `set${n}`, arrays));
  edits.push(...lasting(log.gains, "channel").map((c) => scaled(lab, c)));
  const pcs = lasting(log.gains, "pc");
  edits.push(...pcs.sort((a, b) => a.index - b.index).map((c) => projected(lab, c)));
  return {
    format: "nca-session-1", organism: organism.name, hash: organism.hash, seed, run,
    canvas: [lab.rule.height, lab.rule.width], steps: lab.t,
    compass: log.compass.map(({ step, angle }) => [step, angle]), edits, arrays,
  };
}

/** Intervals in which a factor was not 1, of changes of it. */
function lasting(changes, kind) {
  const intervals = [];
  const indices = [...new Set(changes.filter((c) => c.kind === kind).map((c) => c.index))].sort((a, b) => a - b);
  for (const index of indices) {
    const own = changes.filter((c) => c.kind === kind && c.index === index);
    own.forEach((c, n) => {
      if (c.gain !== 1) intervals.push({ index, gain: c.gain, steps: [c.step, own[n + 1]?.step ?? null] });
    });
  }
  return intervals;
}

function edit(lab, mode, entries, value, steps, region = null) {
  return { site: "state", mode, entries, of: lab.rule.channels, value, steps, region };
}

const every = (lab) => Array.from({ length: lab.rule.channels }, (_, c) => c);

const scaled = (lab, { index, gain, steps }) => edit(lab, "scale", [index], gain, steps);

/** As nca.edits.constructors.project packs it: the direction, (1 - keep) times it, and what keeps the centre in place. */
function projected(lab, { index, gain, steps }) {
  const C = lab.rule.channels, row = [...lab.axes.rows.subarray(index * C, (index + 1) * C)];
  const weighted = row.map((v) => (1 - gain) * v);
  const centre = row.reduce((sum, v, c) => sum + v * lab.axes.mean[c], 0);
  return edit(lab, "project", every(lab), [row, weighted, weighted.map((v) => centre * v)], steps);
}

function wounded(lab, { step, places, values }, name, arrays) {
  const { height, width } = lab.rule, bits = new Uint8Array(Math.ceil((height * width) / 8));
  for (const cell of places) bits[cell >> 3] |= 128 >> (cell & 7);
  const region = { shape: [height, width], bits: base64(bits) };
  if (values) arrays[name] = patch(lab, places, values);
  return edit(lab, "set", every(lab), values ? { npz: name } : 0, [step, step + 1], region);
}

/** The box around some cells, with their values in it and zeros elsewhere. */
function patch(lab, places, values) {
  const { width, channels: C } = lab.rule;
  const ys = places.map((cell) => Math.floor(cell / width)), xs = places.map((cell) => cell % width);
  const corner = [Math.min(...ys), Math.min(...xs)];
  const shape = [Math.max(...ys) - corner[0] + 1, Math.max(...xs) - corner[1] + 1, C];
  const box = new Float32Array(shape[0] * shape[1] * C);
  places.forEach((_, n) => {
    const at = (ys[n] - corner[0]) * shape[1] + xs[n] - corner[1];
    box.set(values.subarray(n * C, (n + 1) * C), at * C);
  });
  return { corner, shape, float32: base64(new Uint8Array(box.buffer)) };
}
