// Jobs for the viewer's own code: fire masks, steps, and sessions in its laboratory.
import { engine$, lab$, session$ } from "./bundle.mjs";
import { readFileSync } from "node:fs";

const base64 = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");

function masks({ seed, run, step, canvas, rate }) {
  const key = engine$.foldIn(engine$.runKey(seed, run), step);
  return Array.from({ length: canvas[0] * canvas[1] }, (_, n) => Number(engine$.fires(key, n, rate))).join("");
}

function steps({ organism, start, fires, key, marks, angle = 0 }) {
  const rule = engine$.prepare(organism), size = rule.cells * rule.channels, results = {};
  let state = new Float32Array(size + rule.channels), next = new Float32Array(size + rule.channels);
  if (start) state.set(engine$.floats(start));
  else state.set(lab$.seeded(organism, rule));
  const run = key && engine$.runKey(...key);
  for (let t = 0; t <= Math.max(...marks); t++) {
    if (marks.includes(t)) results[t] = base64(state.subarray(0, size));
    const fire = fires ? Buffer.from(fires, "base64").subarray(t * rule.cells, (t + 1) * rule.cells) : null;
    engine$.step(rule, state, run ? engine$.foldIn(run, t) : null, angle, next, null, fire);
    [state, next] = [next, state];
  }
  return results;
}

function lab({ organism, place, script, marks }) {
  const bench = lab$.openLab(organism, place), results = { states: {}, twins: {}, series: {} };
  const values = (v) => v && engine$.floats(v);
  const acts = {
    set: (a) => bench.set(a.places, values(a.values), a.what), gain: (a) => bench.gain(a.kind, a.index, a.value, a.now ?? true),
    turn: (a) => bench.turn(a.angle), twin: (a) => bench.showTwin(a.on), reset: (a) => bench.reset(a), seek: (a) => bench.seek(a.t),
    advance: (a) => { for (let n = 0; n < a.steps; n++) { bench.advance(); while (!bench.catchUp()); note(); } },
  };
  const cells = bench.rule.cells * bench.rule.channels;
  function note() {
    if (!marks.includes(bench.t)) return;
    results.states[bench.t] = base64(bench.state.slice(0, cells));
    if (bench.twin.on) results.twins[bench.t] = base64(bench.twin.state.slice(0, cells));
    for (const name in bench.series) results.series[name] = { ...results.series[name], [bench.t]: bench.series[name][bench.t] };
  }
  for (const act of script) { acts[act.do](act); while (!bench.catchUp()); note(); }
  return { ...results, t: bench.t, exploded: bench.exploded, past: bench.past, session: session$.session(bench, organism) };
}

const jobs = JSON.parse(readFileSync(0, "utf8")), kinds = { masks, steps, lab };
console.log(JSON.stringify(jobs.map((job) => kinds[job.kind](job))));
