// Time: play, step, back, again, speed.
import { h, icon, iconButton, setText, slider } from "./dom.js";

const SPEEDS = [1, 2, 5, 10, 20, 30, 60, 120, 1000];

/** The bar under the dish. `send` speaks to the laboratory, `shot` gives the last frame. */
export function timeBar({ shot, send }) {
  const play = iconButton("Pause", "pause", () => toggle());
  play.className = "play";
  const counter = h("output.counter", { "aria-label": "Step" }, "0"), rate = h("span.rate");
  const scrub = h("input.scrub", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "Go back in time" });
  scrub.addEventListener("input", () => send({ do: "seek", t: Number(scrub.value) }));
  const speed = slider("Speed", {
    min: 0, max: SPEEDS.length - 1, step: 1, value: 5, show: (n) => (n === SPEEDS.length - 1 ? "max" : `${SPEEDS[n]}/s`), label: "Steps a second",
  }, (n) => send({ do: "play", on: shot()?.playing ?? true, speed: SPEEDS[n] }));
  const again = () => {
    send({ do: "reset" });
    send({ do: "play", on: true });
  };
  const step = () => send({ do: "step" }), back = () => send({ do: "seek", t: (shot()?.t ?? 0) - 1 });
  const toggle = () => send({ do: "play", on: !shot()?.playing, speed: SPEEDS[Number(speed.input.value)] });
  const node = h("div.transport", { role: "group", "aria-label": "Time" },
    iconButton("Grow again from the seed", "reset", again), iconButton("One step back", "back", back), play,
    iconButton("One step", "step", step), h("div.time", {}, h("div", {}, h("span", {}, "step "), counter, rate), scrub), speed.row);

  function update({ t, playing, rate: fast, past, exploded }, acknowledged) {
    setText(counter, t.toLocaleString("en"));
    setText(rate, playing && fast ? `${fast < 10 ? fast.toFixed(1) : Math.round(fast)} steps/s` : "");
    [scrub.min, scrub.max] = past;
    if (acknowledged) scrub.value = t;
    scrub.setAttribute("aria-valuetext", `step ${t}`);
    const sign = playing ? "pause" : "play";
    if (play.firstChild.dataset.sign !== sign) play.replaceChildren(icon(sign));
    play.title = playing ? "Pause" : "Play";
    play.setAttribute("aria-label", play.title);
    play.disabled = exploded !== null;
  }

  return { node, update, toggle, step, back, again };
}
