// The laboratory behind messages: in a worker where there can be one, in the page itself where not.
import { openLab } from "./lab.js";
import { session } from "./session.js";

const SHOWN = 600; // steps of the curves

/** A laboratory that takes messages; `post` sends its answers. Returns the function that takes them. */
export function serve(post, slice = 25) {
  let lab = null, organism = null, playing = false, speed = 30, owed = 0, clock = 0, asked = true, timer = 0;
  let counted = 0, since = 0, rate = 0, changed = false, acknowledged = 0;

  function frame() {
    const { t, twin } = lab, from = Math.max(0, t - SHOWN + 1);
    const curve = (name) => Float32Array.from({ length: t + 1 - from }, (_, n) => lab.series[name][from + n] ?? NaN);
    asked = changed = false;
    post({
      is: "frame", acknowledged, t, playing, rate, past: lab.past, place: lab.place, exploded: lab.exploded,
      state: lab.state.slice(), moved: lab.moved.slice(), alive: lab.alive(),
      twin: twin.on && twin.t === t ? twin.state.slice() : null, twinMoved: lab.twinMoved.slice(), behind: twin.on ? t - twin.t : 0,
      angle: lab.wanted.compass, changes: lab.log.sets.length + lab.log.gains.length + lab.log.compass.length,
      channel: Float64Array.from(lab.wanted.channel), pc: Float64Array.from(lab.wanted.pc),
      curves: { from, error: curve("error"), mature: curve("mature"), apart: curve("apart") },
    });
  }

  function tick() {
    timer = 0;
    const now = performance.now(), late = lab.twin.on && lab.twin.t !== lab.t, there = lab.catchUp(slice);
    if (late) changed = true;
    if (playing && there) {
      owed = Math.min(owed + ((now - clock) / 1000) * speed, Math.max(1, speed / 4));
      clock = now;
      while (owed >= 1 && playing && performance.now() - now < slice) {
        owed -= 1;
        playing = lab.advance();
        counted += 1;
        changed = true;
      }
      if (now - since > 500) {
        rate = (counted * 1000) / (now - since);
        [counted, since] = [0, now];
      }
    } else clock = now;
    if (changed && asked) frame();
    if (playing || !there) wake();
  }

  function wake() {
    const wait = lab.catchUp(0) && playing ? Math.max(0, ((1 - owed) / speed) * 1000) : 0;
    timer ||= setTimeout(tick, Math.min(wait, 200));
  }

  const acts = {
    open: (m) => {
      organism = m.organism;
      lab = openLab(organism, m);
    },
    play: (m) => {
      speed = m.speed ?? speed;
      if (!playing) [owed, clock, since, counted] = [1, performance.now(), performance.now(), 0];
      playing = m.on && lab.exploded === null;
    },
    step: () => {
      playing = false;
      lab.advance();
    },
    seek: (m) => {
      playing = false;
      lab.seek(m.t);
    },
    reset: (m) => lab.reset(m),
    set: (m) => lab.set(m.places, m.values, m.what),
    gain: (m) => lab.gain(m.kind, m.index, m.value, m.now),
    turn: (m) => lab.turn(m.angle),
    twin: (m) => lab.showTwin(m.on),
    session: () => post({ is: "session", session: session(lab, organism) }),
    shown: () => {
      asked = true;
    },
  };

  return (message) => {
    acts[message.do](message);
    acknowledged = message.serial ?? acknowledged;
    if (!["shown", "session"].includes(message.do)) changed = true;
    if (changed && asked) frame();
    wake();
  };
}

/** Serve as a worker. */
export function serveWorker() {
  const receive = serve((answer) => self.postMessage(answer));
  self.onmessage = (event) => receive(event.data);
}

/** A laboratory in a worker made from the page's own code, or in the page where that is refused. */
export function connect(code, organism, place, answer) {
  const local = () => {
    const receive = serve((message) => queueMicrotask(() => answer(message)), 10);
    receive({ do: "open", organism, ...place });
    return { send: receive, worker: false, close: () => {} };
  };
  if (!code || typeof Worker === "undefined") return local();
  try {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const worker = new Worker(url);
    const line = { send: (message) => worker.postMessage(message), worker: true, close: () => worker.terminate() };
    let acknowledged = false;
    worker.onmessage = (event) => {
      acknowledged = true;
      answer(event.data);
    };
    worker.onerror = (event) => {
      if (acknowledged) return;
      event.preventDefault();
      worker.terminate();
      Object.assign(line, local());
    };
    line.send({ do: "open", organism, ...place });
    return line;
  } catch {
    return local();
  }
}
