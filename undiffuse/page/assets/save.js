// Pictures and films of what is on the stage.

import { element } from "./stage.js";

const FRAME = 1000 / 15; // milliseconds
const HELD = 15; // frames of the last state

function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export async function savePicture(stage, name) {
  const blob = await new Promise((done) => stage.composed().toBlob(done, "image/png"));
  download(blob, `${name}.png`);
}

// A film of all states: show(k) draws each of them.
export async function saveFilm(stage, name, count, show) {
  if (typeof MediaRecorder === "undefined") throw new Error("this browser records no films; save a picture instead");
  const sheet = stage.composed();
  const recorder = new MediaRecorder(sheet.captureStream(), { videoBitsPerSecond: 4_000_000 });
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  const stopped = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  for (let frame = 0; frame < count + HELD; frame++) {
    await show(Math.min(frame, count - 1));
    stage.composed(sheet);
    await new Promise((done) => setTimeout(done, FRAME));
  }
  recorder.stop();
  await stopped;
  download(new Blob(parts, { type: recorder.mimeType }), `${name}.webm`);
}
