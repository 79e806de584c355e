// The page: one organism, alive, with everything needed to take it apart.
import { graph, sheet } from "./charts.js";
import { paint, paintDifference, sites } from "./colours.js";
import { h, iconButton, setText } from "./dom.js";
import { floats } from "./engine.js";
import { keepSection } from "./film.js";
import { helpDialog } from "./help.js";
import { cellSection, handSection, lesionSection, runSection, viewSection } from "./panel.js";
import { connect } from "./serve.js";
import { dish, hands, outline } from "./stage.js";
import { colours } from "./theme.js";
import { timeBar } from "./time.js";

const LEAST = 28; // milliseconds from one drawing to the next: what is left goes to the cells

/** Build the page into an element. `onMessage` receives frames and sessions (a notebook listens). */
export function mount(root, organism, { code = null, onMessage = () => {} } = {}) {
  const axes = organism.axes && { ...organism.axes, rows: floats(organism.axes.directions), mean: floats(organism.axes.mean) };
  const data = { ...organism, axes };
  const [height, width] = data.canvas, C = data.spec.channels;
  let shot = null, line = null, drawn = true, waiting = [], sent = 0, painted = 0;
  // A frame that left before the last message was acknowledged does not show it: controls wait for one that does.
  const send = (message) => line.send({ ...message, serial: ++sent });
  const acknowledged = () => shot.acknowledged >= sent;
  const [tall, broad] = data.seed.shape;
  const ui = {
    channels: C, tool: "look", radius: Math.max(1, Math.round(Math.min(height, width) / 14)), largest: Math.round(Math.min(height, width) / 3),
    cursor: null, piece: null, shot: () => shot, look: { kind: "body", channel: data.hidden[0] ?? 0, rgb: data.rgb },
    seed: {
      values: floats(data.seed.values),
      offsets: Array.from({ length: tall * broad }, (_, n) => [Math.floor(n / broad) - (tall >> 1), (n % broad) - (broad >> 1)]),
    },
  };
  const theme = colours(root);

  // The stage.
  const own = dish(width, height, "", `${data.name}, growing`), twin = dish(width, height, "control", "The control, without your changes");
  const apart = dish(width, height, "difference", "Difference between the organism and its control");
  const dishes = [own, twin, apart];
  Object.assign(own.frame, { tabIndex: 0 });
  own.frame.setAttribute("role", "application");
  own.frame.setAttribute("aria-label", `${data.name} in its dish: arrow keys walk from cell to cell, Enter uses the hand`);
  twin.figure.hidden = apart.figure.hidden = true;
  const alarm = h("p.alarm", { role: "alert", hidden: true }), live = h("p.live", { "aria-live": "polite" });
  own.frame.append(alarm);
  const bar = timeBar({ shot: () => shot, send: (m) => send(m) });
  const fit = graph(data.target ? "Fitness" : "Distance to the control", data.target
    ? "1 − E/E₀, E the squared error to the target and E₀ that of an empty canvas: 1 is the target to the pixel"
    : "log₁₀ of the mean squared difference to the control");
  const mass = graph("Mature cells", "Cells whose own alpha passes the threshold");

  // The panel.
  const refresh = () => {
    drawn = false;
  };
  const hand = handSection(ui, refresh), view = viewSection(ui, data, refresh), cell = cellSection(ui, data);
  const lesions = lesionSection(data, (m) => send(m), { value: true }), run = runSection(data, (m) => send(m));
  const pair = h("button.switch", { type: "button", role: "switch", "aria-checked": "false", onclick: () => showTwin(pair.getAttribute("aria-checked") !== "true") },
    h("i"), h("span", {}, "Control and difference"));
  view.node.append(pair);
  const keep = keepSection(data, { dishes, theme, title: () => title(), step: () => shot.t, ask: () => ask(), play: () => shot.playing || bar.toggle() });
  const dialog = helpDialog();
  const head = h("header", {}, h("div", {}, h("h1", {}, data.name), h("p.facts", {}, data.facts)),
    h("div.row", {}, iconButton("Light or dark", "sun", () => theme.flip(refresh)), iconButton("Keys and help", "help", () => dialog.showModal())));
  root.replaceChildren(head, h("main", {},
    h("div.stage", {}, h("div.dishes", {}, dishes.map((d) => d.figure)), bar.node, h("div.graphs", {}, fit.node, mass.node)),
    h("div.panel", {}, hand.node, view.node, cell.node, lesions.node, run.node, keep.node)), live, dialog);
  root.classList.add("nca");

  // What happens.
  const announce = (text) => {
    live.textContent = text;
  };
  function showTwin(on) {
    pair.setAttribute("aria-checked", String(on));
    twin.figure.hidden = apart.figure.hidden = !on;
    root.classList.toggle("paired", on);
    send({ do: "twin", on });
  }
  const title = () => `${data.name}, step ${shot.t}`;
  const ask = () => new Promise((answer) => {
    waiting.push(answer);
    line.send({ do: "session" });
  });
  hands(own, ui, {
    set: (places, values, what) => send({ do: "set", places, values, what }),
    moved: refresh,
    announce,
  });

  function answer(message) {
    if (message.is === "session") waiting.splice(0).forEach((take) => take(message.session));
    else {
      const before = shot;
      shot = message;
      drawn = false;
      if (before && before.playing && !shot.playing) announce(shot.exploded === null ? `Paused at step ${shot.t}.` : "");
    }
    onMessage(message, ask);
  }

  function draw(now) {
    if (!root.isConnected && root.dataset.was) return line.close();
    if (root.isConnected) root.dataset.was = "1";
    requestAnimationFrame(draw);
    if (drawn || !shot || now - painted < LEAST) return;
    [drawn, painted] = [true, now];
    const fresh = shot.seen !== true;
    shot.seen = true;
    paint(ui.look, data, shot, theme, own.image);
    own.pen.putImageData(own.image, 0, 0);
    if (shot.twin) {
      // The twin's living sites follow from its own alpha; nothing else of it is alive.
      paint(ui.look, data, { state: shot.twin, alive: sites(data, shot.twin), moved: shot.twinMoved }, theme, twin.image);
      twin.pen.putImageData(twin.image, 0, 0);
      paintDifference(ui.look, data, shot, theme, apart.image);
      apart.pen.putImageData(apart.image, 0, 0);
    }
    setText(own.caption, twin.figure.hidden ? "" : shot.changes ? "with your changes" : "unchanged so far");
    setText(apart.caption, ui.look.kind === "update" ? "difference of the states" : "difference");
    setText(twin.caption, shot.behind > 0 ? `control, ${shot.behind} steps behind` : "control");
    const layer = sheet(own.over);
    outline(own, ui, theme.css, layer, (pen, sx, sy) => carried(pen, sx, sy));
    bars();
    keep.shoot();
    if (fresh) line.send({ do: "shown" });
  }

  /** Everything on the page that shows numbers. */
  function bars() {
    bar.update(shot, acknowledged());
    alarm.hidden = shot.exploded === null;
    setText(alarm, shot.exploded === null ? "" : `Exploded at step ${shot.exploded}: a value passed 1,000. Go back in time, or grow again.`);
    const { error, mature, apart: gap, from } = shot.curves;
    const fitness = Array.from(error, (e) => 1 - e / data.dead), log = Array.from(gap, (e) => Math.log10(Math.max(e, 1e-6)));
    const css = theme.css, at = (list) => list[list.length - 1];
    if (data.target) {
      const bottom = Math.max(Math.min(0, ...fitness.filter(Number.isFinite)), -1);
      fit.draw([{ values: fitness, colour: css.accent, fill: true }], bottom, 1, css, at(fitness)?.toFixed(3));
    } else fit.draw([{ values: log, colour: css.accent }], -6, 0, css, Number.isFinite(at(log)) ? at(log).toFixed(2) : "needs the control");
    mass.draw([{ values: Array.from(mature), colour: css.blue, fill: true }], 0, Math.max(10, ...mature), css, String(at(mature) ?? 0));
    fit.node.querySelector("canvas").setAttribute("aria-label", `${fit.name} from step ${from} to ${shot.t}`);
    view.update();
    cell.update(shot, css);
    if (!acknowledged()) return;
    lesions.update(shot);
    run.update(shot);
  }

  function carried(pen, sx, sy) {
    const [y, x] = ui.cursor, { offsets, values } = ui.piece;
    const image = new ImageData(offsets.length, 1);
    paint(ui.look, data, { state: values, alive: new Uint8Array(offsets.length).fill(1), moved: new Float32Array(offsets.length) }, theme, image);
    pen.globalAlpha = 0.8;
    offsets.forEach(([dy, dx], n) => {
      pen.fillStyle = `rgb(${image.data.slice(n * 4, n * 4 + 3).join(" ")})`;
      pen.fillRect((x + dx) * sx, (y + dy) * sy, sx + 0.5, sy + 0.5);
    });
    pen.globalAlpha = 1;
  }

  const keys = {
    " ": bar.toggle, ".": bar.step, ArrowRight: bar.step, ",": bar.back, ArrowLeft: bar.back,
    r: bar.again, l: () => hand.take("look"), w: () => hand.take("wound"), s: () => hand.take("seed"), g: () => hand.take("graft"),
    "[": () => hand.shift(-1), "]": () => hand.shift(1), c: () => view.step(-1), v: () => view.step(1),
    t: () => showTwin(twin.figure.hidden), "{": () => run.turn(-15), "}": () => run.turn(15), "?": () => dialog.showModal(),
  };
  for (let n = 0; n < 6; n++) keys[n + 1] = () => view.take(n);
  const scope = data.widget ? root : document;
  scope.addEventListener("keydown", (event) => {
    const busy = event.target.closest?.("input, select, textarea, dialog, [role=slider]");
    const pressed = event.key === " " && event.target.closest?.("button, summary");
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || busy || pressed || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !shot) return;
    event.preventDefault();
    act();
  });
  addEventListener("resize", refresh);
  root.addEventListener("resized", refresh);
  theme.heed(refresh);
  line = connect(code, organism, data.place ?? {}, answer);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) send({ do: "play", on: true, speed: 30 });
  requestAnimationFrame(draw);
  return { ui, shot: () => shot, send, settled: () => shot !== null && acknowledged(), session: ask, line };
}
