// Elements in one line each, and the icons.

/** An element: properties (aria and data by attribute name, handlers by on...), then children. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !key.includes("-") && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the text of an element, if it differs. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SHAPES = {
  play: "M6 4.2v11.6L15.5 10z",
  pause: "M5.5 4.5h3v11h-3zM11.5 4.5h3v11h-3z",
  step: "M4.5 4.5v11L12 10zM13 4.5h2.4v11H13z",
  back: "M15.5 4.5v11L8 10zM4.6 4.5H7v11H4.6z",
};
const LINES = {
  reset: "M4.5 10a5.5 5.5 0 1 1 1.6 3.9M4.3 14.6v-3.4h3.4",
  look: "M2.5 10s2.8-4.8 7.5-4.8 7.5 4.8 7.5 4.8-2.8 4.8-7.5 4.8S2.5 10 2.5 10zM10 12.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z",
  wound: "M8 16.5h8.5M4 12.2l7.6-7.6a1.6 1.6 0 0 1 2.3 0l2 2a1.6 1.6 0 0 1 0 2.3L9 15.8a2 2 0 0 1-2.8 0L4 13.600a1 1 0 0 1 0-1.4zM8.200 8.100l4.200 4.300",
  seed: "M10 16.800V10M10 10.800C10 7.600 7.600 5.600 4.200 5.600c0 3.300 2.300 5.200 5.800 5.200zM10 8.600c0-2.900 2-4.700 5.300-4.800.100 3.100-2 4.900-5.300 4.800z",
  graft: "M4 7.500a3.500 3.500 0 1 0 7 0 3.500 3.500 0 1 0-7 0zM11.500 11.500l4 4M15.800 12v3.800H12",
  sun: "M10 13.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM10 2v2M10 16v2M2 10h2M16 10h2M4.300 4.300l1.400 1.400M14.300 14.300l1.400 1.400M4.300 15.700l1.400-1.400M14.300 5.700l1.400-1.400",
  help: "M7.600 7.600a2.400 2.400 0 1 1 3.600 2.100c-.8.5-1.200.9-1.200 1.900M10 14.300v.200",
};

/** A small picture for a button; a screen reader skips it, the button's label does. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", SHAPES[name] ?? LINES[name]);
  if (LINES[name]) svg.setAttribute("class", "lines");
  svg.append(path);
  svg.dataset.sign = name;
  return svg;
}

/** A button that shows an icon and tells its name. */
export const iconButton = (name, sign, act) =>
  h("button", { type: "button", "aria-label": name, title: name, onclick: act }, icon(sign));

/** A choice of one among few, as a row of buttons that arrow keys walk. */
export function choice(label, options, chosen, pick) {
  const buttons = options.map(([value, label, sign]) =>
    h("button", {
      type: "button", role: "radio", "aria-checked": String(value === chosen), tabIndex: value === chosen ? 0 : -1,
      "data-value": value, title: label,
      onclick: () => choose(value),
    }, sign ? icon(sign) : null, h("span", {}, label)));
  const choose = (value, silent = false) => {
    buttons.forEach((b) => {
      b.setAttribute("aria-checked", String(b.dataset.value === value));
      b.tabIndex = b.dataset.value === value ? 0 : -1;
    });
    if (!silent) pick(value);
  };
  const group = h("div.choice", {
    role: "radiogroup", "aria-label": label,
    onkeydown: (event) => {
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!move) return;
      event.preventDefault();
      event.stopPropagation();
      const next = buttons[(buttons.indexOf(document.activeElement) + move + buttons.length) % buttons.length];
      next.focus();
      choose(next.dataset.value);
    },
  }, buttons);
  return { group, choose };
}

/** A slider with its name and number; a double click brings it back to `home`. */
export function slider(name, { min, max, step, value, home = value, show = (v) => String(v), label = name }, changed) {
  const output = h("output", {}, show(value));
  const input = h("input", { type: "range", min, max, step, value, "aria-label": label });
  const fill = () => {
    const share = (100 * (input.value - min)) / (max - min);
    input.style.setProperty("--share", `${share}%`);
    output.textContent = show(Number(input.value));
    input.setAttribute("aria-valuetext", show(Number(input.value)));
  };
  input.addEventListener("input", () => {
    fill();
    changed(Number(input.value));
  });
  const put = (v) => {
    if (Number(input.value) === v) return;
    input.value = v;
    fill();
  };
  const row = h("label.slider", {
    ondblclick: () => {
      input.value = home;
      fill();
      changed(home);
    },
  }, h("span", {}, name), input, output);
  fill();
  return { row, input, put };
}

/** Save something as a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
