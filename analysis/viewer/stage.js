// The dish: the canvas that the body lives on, and what hands and keys do there.
import { h } from "./dom.js";

/** One canvas with a layer above it for outlines, and its caption. */
export function dish(width, height, title, label) {
  const canvas = h("canvas.cells", { width, height, role: "img", "aria-label": label });
  const over = h("canvas.over", { "aria-hidden": "true" });
  const frame = h("div.frame", { style: `aspect-ratio: ${width} / ${height}` }, canvas, over);
  const caption = h("figcaption", {}, title);
  const figure = h("figure.dish", {}, frame, caption);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  return { figure, frame, canvas, over, caption, pen, image: pen.createImageData(width, height) };
}

/** The cells within a radius of a cell, as numbers; a radius under 1 is the cell itself. */
export function disc(y, x, radius, height, width) {
  const cells = [], reach = Math.ceil(radius);
  for (let v = Math.max(0, y - reach); v <= Math.min(height - 1, y + reach); v++) {
    for (let u = Math.max(0, x - reach); u <= Math.min(width - 1, x + reach); u++) {
      if ((v - y) ** 2 + (u - x) ** 2 <= radius ** 2) cells.push(v * width + u);
    }
  }
  return cells;
}

/** What a disc of a state holds: offsets from its centre, and values. */
export function lift(state, C, y, x, radius, height, width) {
  const cells = disc(y, x, radius, height, width), values = new Float32Array(cells.length * C);
  cells.forEach((cell, n) => values.set(state.subarray(cell * C, (cell + 1) * C), n * C));
  return { offsets: cells.map((cell) => [Math.floor(cell / width) - y, (cell % width) - x]), values };
}

/** A piece laid down with its centre on a cell: the cells on the canvas and their values. */
export function laid({ offsets, values }, C, y, x, height, width) {
  const places = [], selected = [];
  offsets.forEach(([dy, dx], n) => {
    const v = y + dy, u = x + dx;
    if (v < 0 || u < 0 || v >= height || u >= width) return;
    places.push(v * width + u);
    selected.push(n);
  });
  const rows = new Float32Array(selected.length * C);
  selected.forEach((n, i) => rows.set(values.subarray(n * C, (n + 1) * C), i * C));
  return { places, values: rows };
}

/**
 * Let hands work on a dish.
 *
 * @param own the dish
 * @param ui {tool, radius, piece, cursor, shot()} read and written here
 * @param act {set(places, values, what), moved(), announce(text)}
 */
export function hands(own, ui, act) {
  const { width, height } = own.canvas, { frame } = own;
  let down = null, last = null;

  const cellAt = (event) => {
    const box = own.canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * height);
    return x >= 0 && y >= 0 && x < width && y < height ? [y, x] : null;
  };

  function cut(from, to) {
    const far = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1), cells = new Set();
    for (let n = 0; n <= far; n++) {
      const [y, x] = [0, 1].map((k) => Math.round(from[k] + ((to[k] - from[k]) * n) / far));
      for (const cell of disc(y, x, ui.radius, height, width)) cells.add(cell);
    }
    act.set([...cells], null, "wound");
  }

  function drop([y, x]) {
    const { places, values } = laid(ui.piece, ui.channels, y, x, height, width);
    act.set(places, values, "graft");
    act.announce(`Dropped ${places.length} cells at row ${y}, column ${x}.`);
    ui.piece = null;
  }

  function use(at, fresh) {
    if (ui.tool === "wound") {
      cut(fresh ? at : last, at);
      if (fresh) act.announce(`Cut a wound at row ${at[0]}, column ${at[1]}.`);
    } else if (ui.tool === "seed" && fresh) {
      const { places, values } = laid(ui.seed, ui.channels, ...at, height, width);
      act.set(places, values, "seed");
      act.announce(`Planted a seed at row ${at[0]}, column ${at[1]}.`);
    } else if (ui.tool === "graft" && fresh && !ui.piece) {
      ui.piece = lift(ui.shot().state, ui.channels, ...at, ui.radius, height, width);
      act.announce(`Lifted ${ui.piece.offsets.length} cells: drag them, or choose a place.`);
      return true;
    }
    return false;
  }

  frame.addEventListener("pointerdown", (event) => {
    const at = cellAt(event);
    if (!at || event.button > 0 || !ui.shot()) return;
    frame.classList.add("held"); // a ring of focus is for keys
    frame.focus({ preventScroll: true });
    if (ui.tool !== "look") {
      frame.setPointerCapture(event.pointerId);
      event.preventDefault();
    }
    down = { at, lifted: use(at, true) };
    last = ui.cursor = at;
    act.moved();
  });
  frame.addEventListener("pointermove", (event) => {
    const at = cellAt(event);
    if (down && at && ui.tool === "wound" && (at[0] !== last[0] || at[1] !== last[1])) use(at, false);
    if (at) last = at;
    ui.cursor = at;
    act.moved();
  });
  const up = (event) => {
    const at = cellAt(event) ?? last;
    if (down && ui.tool === "graft" && ui.piece) {
      const far = Math.max(Math.abs(at[0] - down.at[0]), Math.abs(at[1] - down.at[1]));
      if (!down.lifted || far > 1) drop(at);
    }
    down = null;
    act.moved();
  };
  frame.addEventListener("pointerup", up);
  frame.addEventListener("pointercancel", () => {
    down = null;
  });
  frame.addEventListener("pointerleave", () => {
    if (!down) ui.cursor = null;
    act.moved();
  });
  frame.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const stride = event.shiftKey ? 5 : 1;
    if (move) {
      const [y, x] = ui.cursor ?? [height >> 1, width >> 1];
      ui.cursor = [
        Math.min(Math.max(y + move[0] * stride, 0), height - 1), Math.min(Math.max(x + move[1] * stride, 0), width - 1),
      ];
    } else if (event.key === "Enter") {
      const at = (ui.cursor ??= [height >> 1, width >> 1]);
      if (ui.tool === "graft" && ui.piece) drop(at);
      else use(at, true);
    } else if (event.key === "Escape" && ui.piece) ui.piece = null;
    else return;
    frame.classList.remove("held");
    event.preventDefault();
    event.stopPropagation();
    act.moved();
  });
}

/** Outlines above the cells: the cursor, the brush, the piece that is carried. */
export function outline(own, ui, theme, { pen, width: wide, height: tall }, paintPiece) {
  const { width, height } = own.canvas, sx = wide / width, sy = tall / height;
  if (!ui.cursor) return;
  const [y, x] = ui.cursor;
  if (ui.piece) paintPiece(pen, sx, sy);
  pen.lineWidth = 1.5;
  pen.strokeStyle = theme.accent;
  pen.beginPath();
  if (ui.tool === "wound" || ui.tool === "graft") {
    const r = Math.max(ui.radius + 0.5, 0.7);
    pen.setLineDash(ui.tool === "graft" && !ui.piece ? [4, 3] : []);
    pen.ellipse((x + 0.5) * sx, (y + 0.5) * sy, r * sx, r * sy, 0, 0, 2 * Math.PI);
  } else pen.rect(x * sx - 0.75, y * sy - 0.75, sx + 1.5, sy + 1.5);
  pen.stroke();
  pen.setLineDash([]);
}
