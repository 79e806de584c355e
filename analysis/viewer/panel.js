// The panel next to the dish: hand, view, compass, cell, lesions, run.
import { VIEWS, legend, score } from "./colours.js";
import { bars, plane } from "./charts.js";
import { choice, h, setText, slider } from "./dom.js";

const section = (title, ...children) => h("section.card", { "aria-label": title }, h("h2", {}, title), ...children);

const HINTS = {
  look: "Point at a cell to read its state.",
  wound: "Draw on the body to cut it away.",
  seed: "Tap anywhere to plant a new seed.",
  graft: "Drag a disc of cells to another place; or tap it, then tap where it goes.",
};

/** Which hand works on the dish, and how large it is. */
export function handSection(ui, refresh) {
  const hint = h("p.hint", {}, HINTS[ui.tool]);
  const names = { look: "Look", wound: "Wound", seed: "Seed", graft: "Graft" };
  const pick = choice("Hand", Object.entries(names).map(([k, label]) => [k, label, k]), ui.tool, (tool) => {
    [ui.tool, ui.piece] = [tool, null];
    hint.textContent = HINTS[tool];
    size.row.hidden = tool === "look" || tool === "seed";
    refresh();
  });
  const size = slider("Size", {
    min: 0, max: ui.largest, step: 1, value: ui.radius, show: (v) => String(2 * v + 1), label: "Width of the brush in cells",
  }, (v) => {
    ui.radius = v;
    refresh();
  });
  size.row.hidden = true;
  const node = section("Hand", pick.group, hint, size.row);
  const shift = (by) => {
    ui.radius = Math.min(Math.max(ui.radius + by, 0), ui.largest);
    size.put(ui.radius);
    refresh();
  };
  const take = (tool) => {
    pick.choose(tool);
  };
  return { node, take, shift };
}

/** What is shown of the cells. */
export function viewSection(ui, data, refresh) {
  const views = VIEWS.filter(([kind]) => kind !== "pcs" || data.axes);
  const pick = choice("View", views, ui.look.kind, (kind) => {
    ui.look.kind = kind;
    one.hidden = kind !== "channel";
    three.hidden = kind !== "rgb";
    refresh();
  });
  const options = () => data.channels.map((name, c) => h("option", { value: String(c) }, `${name} (${c})`));
  const menu = (label, chosen, changed) => {
    const select = h("select", { "aria-label": label, onchange: () => {
      changed(Number(select.value));
      refresh();
    } }, options());
    select.value = String(chosen);
    return select;
  };
  const select = menu("Channel", ui.look.channel, (c) => {
    ui.look.channel = c;
  });
  const step = (by) => {
    ui.look.channel = (ui.look.channel + by + data.channels.length) % data.channels.length;
    select.value = String(ui.look.channel);
    refresh();
  };
  const one = h("div.row", { hidden: true },
    h("button.quiet", { type: "button", "aria-label": "Previous channel", onclick: () => step(-1) }, "‹"), select,
    h("button.quiet", { type: "button", "aria-label": "Next channel", onclick: () => step(1) }, "›"));
  const three = h("div.row.three", { hidden: true }, ["Red", "Green", "Blue"].map((name, n) =>
    h("label", {}, h("span", {}, name), menu(`${name} shows`, ui.look.rgb[n], (c) => {
      ui.look.rgb[n] = c;
    }))));
  const low = h("span"), high = h("span"), note = h("p.hint.words"), bar = h("i");
  const scale = h("div.scale", {}, low, bar, high);
  const node = section("View", pick.group, one, three, scale, note);
  const update = () => {
    const key = legend(ui.look, data);
    scale.hidden = !key.ramp;
    bar.className = key.ramp ?? "";
    for (const [node, text] of [[low, key.low], [high, key.high], [note, key.text]]) setText(node, text ?? "");
    note.hidden = !key.text;
  };
  const take = (n) => views[n] && pick.choose(views[n][0]);
  return { node, update, take, step };
}

/** The state of the cell that is pointed at. */
export function cellSection(ui, data) {
  const place = h("span.where", {}, "point at one"), chart = h("canvas.bars", { role: "img" });
  const map = h("canvas.plane", { role: "img", "aria-label": "Cells of the body on the first two principal components" });
  const note = data.axes ? null : h("p.hint", {}, data.why);
  map.hidden = !data.axes;
  const node = section("Cell", place, chart, map, note);
  node.classList.add("cell");
  const update = (shot, theme) => {
    const C = data.spec.channels, cell = ui.cursor ? ui.cursor[0] * data.canvas[1] + ui.cursor[1] : null;
    const values = cell === null ? null : shot.state.subarray(cell * C, (cell + 1) * C);
    bars(chart, data.channels, values, data.limits, theme);
    plane(map, data, shot, cell, theme);
    const kind = values && (shot.alive[cell] ? "" : ", dead");
    setText(place, values ? `row ${ui.cursor[0]}, column ${ui.cursor[1]}${kind}` : "point at one");
    const reading = values && [...values].slice(0, 40).map((v, c) => `${data.channels[c]} ${v.toFixed(3)}`).join(", ");
    chart.setAttribute("aria-label", reading ? `State of the cell: ${reading}` : "State of a cell");
    if (values && data.axes) {
      const [u, v] = [0, 1].map((k) => score(data.axes, shot.state, cell, C, k).toFixed(2));
      map.setAttribute("aria-label", `The cell among the body’s cells: PC1 ${u}, PC2 ${v}`);
    }
  };
  return { node, update };
}

/** Gains of channels and of principal components. */
export function lesionSection(data, send, now) {
  const show = (v) => v.toFixed(2).replace("-", "−").replace(/^1\.00$/, "1");
  const rows = { channel: [], pc: [] };
  const make = (kind, names) => names.map((name, index) => {
    const one = slider(name, { min: -1, max: 2, step: 0.05, value: 1, home: 1, show, label: `Gain of ${name}` }, (value) => {
      send({ do: "gain", kind, index, value, now: now.value });
      one.row.classList.toggle("changed", value !== 1);
    });
    rows[kind].push(one);
    return one.row;
  });
  const when = choice("When lesions act", [["now", "Now"], ["next", "From the next growth"]], "now", (v) => {
    now.value = v === "now";
  });
  const intact = h("button.quiet", { type: "button", onclick: () => {
    for (const kind in rows) rows[kind].forEach((row, index) => {
      if (Number(row.input.value) === 1) return;
      send({ do: "gain", kind, index, value: 1, now: now.value });
    });
  } }, "All intact");
  const group = (title, kind, names, open) => names.length === 0 ? null
    : h("details", { open }, h("summary", {}, title), h("div.gains", {}, make(kind, names)));
  const pcs = data.axes ? Array.from(data.axes.explained, (_, k) => `PC${k + 1}`) : [];
  const node = section("Lesions",
    h("p.hint", {}, "A channel, or what lies along a principal component, is multiplied at every step: 1 is intact, 0 removed."),
    h("div.row", {}, when.group, intact),
    group("Channels", "channel", data.channels, true), group("Principal components", "pc", pcs, false));
  const update = (shot) => {
    for (const kind in rows) rows[kind].forEach((one, n) => {
      one.put(shot[kind][n]);
      one.row.classList.toggle("changed", shot[kind][n] !== 1);
    });
  };
  return { node, update };
}

/** The compass of the cells' perception, the twin, and which run grows. */
export function runSection(data, send) {
  const needle = h("i.needle"), output = h("output", {}, "0°");
  let angle = 0;
  const dial = h("div.dial", {
    role: "slider", tabIndex: 0, "aria-label": "Compass", "aria-valuemin": "-180", "aria-valuemax": "180", "aria-valuenow": "0",
  }, h("b", {}, "N"), needle);
  const put = (degrees) => {
    angle = degrees;
    needle.style.transform = `rotate(${degrees}deg)`;
    output.textContent = `${degrees}°`.replace("-", "−");
    dial.setAttribute("aria-valuenow", String(degrees));
  };
  const turn = (degrees) => {
    put(((((Math.round(degrees) + 180) % 360) + 360) % 360) - 180);
    send({ do: "turn", angle: (angle * Math.PI) / 180 });
  };
  const point = (event) => {
    const box = dial.getBoundingClientRect();
    const at = Math.atan2(event.clientX - box.left - box.width / 2, box.top + box.height / 2 - event.clientY);
    turn(Math.round((at * 180) / Math.PI / 5) * 5);
  };
  dial.addEventListener("pointerdown", (event) => {
    dial.setPointerCapture(event.pointerId);
    point(event);
  });
  dial.addEventListener("pointermove", (event) => event.buttons && point(event));
  dial.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    turn(angle + by);
  });
  const number = (label, value) => h("input", { type: "number", min: 0, max: 2147483647, step: 1, value, "aria-label": label });
  const seed = number("Seed", 0), run = number("Run", 0);
  const again = () => send({ do: "reset", seed: readInteger(seed), run: readInteger(run) });
  seed.addEventListener("change", again);
  run.addEventListener("change", again);
  const dice = h("button.quiet", { type: "button", title: "Grow again with other random numbers", onclick: () => {
    run.value = String(readInteger(run) + 1);
    again();
  } }, "Another run");
  const compass = !data.has_compass ? null
    : h("div.compass", {}, dial, h("div", {}, h("b", {}, "Compass"), output, h("p.hint", {}, "Turns what every cell takes for down and right.")));
  const node = section("Run", compass,
    h("div.row.numbers", {}, h("label", {}, h("span", {}, "Seed"), seed), h("label", {}, h("span", {}, "Run"), run), dice));
  const update = (shot) => {
    const degrees = Math.round((shot.angle * 180) / Math.PI);
    if (degrees !== angle) put(degrees);
    for (const [box, value] of [[seed, shot.place.seed], [run, shot.place.run]]) {
      if (document.activeElement !== box) box.value = String(value);
    }
  };
  return { node, update, turn: (by) => compass && turn(angle + by) };
}

const readInteger = (input) => Math.min(Math.max(Math.round(Number(input.value)) || 0, 0), 2147483647);
