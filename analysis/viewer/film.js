// Pictures, films and sessions of what is on the table.
import { download, h } from "./dom.js";

const SIDE = 480, GAP = 16, LINE = 40;

/** All dishes side by side with their captions, drawn into one canvas. */
function compose(dishes, title, theme, into = document.createElement("canvas")) {
  const shown = dishes.filter((d) => !d.figure.hidden);
  const { width, height } = shown[0].canvas, zoom = Math.max(1, Math.floor(SIDE / Math.max(width, height)));
  const [w, h] = [width * zoom, height * zoom];
  // Even sides, which video wants.
  const size = [shown.length * (w + GAP) + GAP, h + LINE + GAP].map((n) => n + (n % 2));
  if (into.width !== size[0] || into.height !== size[1]) [into.width, into.height] = size;
  const pen = into.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.fillStyle = theme.paper;
  pen.fillRect(0, 0, ...size);
  pen.fillStyle = theme.soft;
  pen.font = `15px ${theme.font}`;
  shown.forEach((dish, n) => {
    const left = GAP + n * (w + GAP);
    pen.drawImage(dish.canvas, left, GAP, w, h);
    pen.fillText(n === 0 ? title : dish.caption.textContent, left, GAP + h + 26, w);
  });
  return into;
}

/** Save a picture. */
function savePicture(canvas, name) {
  canvas.toBlob((blob) => download(blob, name), "image/png");
}

/** The kind of film that this browser can record, or none. */
function filmKind() {
  if (typeof MediaRecorder === "undefined" || !HTMLCanvasElement.prototype.captureStream) return null;
  return ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"].find((t) => MediaRecorder.isTypeSupported(t)) ?? null;
}

/** Record a canvas until `stop` is called; each `shoot` adds a frame. */
function record(canvas, name, done) {
  const kind = filmKind(), stream = canvas.captureStream(30), parts = [];
  const recorder = new MediaRecorder(stream, { mimeType: kind, videoBitsPerSecond: 6e6 });
  recorder.ondataavailable = (event) => event.data.size && parts.push(event.data);
  recorder.onstop = () => {
    const blob = new Blob(parts, { type: kind.split(";")[0] });
    download(blob, `${name}.${kind.includes("mp4") ? "mp4" : "webm"}`);
    done(blob);
  };
  recorder.start(250);
  return { stop: () => recorder.state !== "inactive" && recorder.stop() };
}

const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "organism";

/**
 * What can be saved: a picture, a film, the session.
 *
 * @param table {dishes, theme, title(), step(), ask(), play()}
 */
export function keepSection(data, { dishes, theme, title, step, ask, play }) {
  const name = slug(data.name), note = h("p.hint.note", { role: "status" });
  const button = (label, act) => h("button", { type: "button", onclick: act }, label);
  let filming = null;
  const picture = button("Picture", () => savePicture(compose(dishes, title(), theme.css), `${name}-${step()}.png`));
  const film = button("Film", () => {
    if (filming) return filming.stop();
    const canvas = compose(dishes, title(), theme.css);
    filming = { canvas, ...record(canvas, `${name}-film`, () => {
      filming = null;
      [film.textContent, note.textContent] = ["Film", "The film is saved."];
      film.classList.remove("on");
    }) };
    [film.textContent, note.textContent] = ["Stop", "Recording what is shown."];
    film.classList.add("on");
    return play();
  });
  film.disabled = !filmKind();
  film.title = film.disabled ? "This browser cannot record a canvas" : "Record what is shown, as a video";
  const session = button("Session", async () => {
    const session = await ask();
    download(new Blob([JSON.stringify(session)], { type: "application/json" }), `${name}-session.json`);
    const again = `nca grow ${data.source} --edits ${name}-session.json --steps ${Math.max(session.steps, 1)} --out film.webp`;
    note.textContent = `Run it again: ${again}`;
  });
  const node = h("section.card", { "aria-label": "Keep" }, h("h2", {}, "Keep"), h("div.row", {}, picture, film, session), note);
  return { node, shoot: () => filming && compose(dishes, title(), theme.css, filming.canvas) };
}
