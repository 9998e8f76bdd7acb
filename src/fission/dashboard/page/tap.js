// The panel that looks into a pipe. Its tap is open only while the panel is, and the page is visible or plays.

import { LineChart } from "./chart.js";
import { History } from "./model.js";
import { Spectrogram, drawImage, drawScope, short } from "./tap_draw.js";
import { Sound } from "./tap_sound.js";

/** Seconds of the line of numbers. */
const LINE_S = 120;
/** Values that are listed. */
const MOST_VALUES = 20;
/** Milliseconds after which a server that refused is asked again; arbitrary. */
const AGAIN_MS = 3000;
const READ_AS = ["", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"];
const WINDOWS = [256, 1024, 4096, 16384];

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(`tap-${id}`);

/** @param {HTMLSelectElement} select @param {[string, string][]} options value and text */
function fill(select, options) {
  for (const [value, text] of options) select.add(new Option(text, value));
}

export class TapPanel {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.pipe = "";
    /** @type {EventSource | null} */
    this.source = null;
    this.spectrogram = new Spectrogram(at("spectrogram"));
    this.sound = new Sound();
    this.chart = new LineChart(at("line"), 180, ["least", "greatest"]);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.again = undefined;
    this.history = new History(LINE_S);
    /** @type {[number, number, string][]} */
    this.values = [];
    fill(at("as"), READ_AS.map((name) => [name, name || "bytes"]));
    fill(at("window"), WINDOWS.map((size) => [String(size), String(size)]));
    at("window").value = "1024";
    at("close").addEventListener("click", () => this.close());
    at("play").addEventListener("click", () => this.toggle());
    at("options").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
    for (const id of ["as", "window"]) at(id).addEventListener("change", () => this.connect());
    section.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    document.addEventListener("visibilitychange", () => {
      if (this.section.hidden) return;
      if (document.hidden && !this.sound.isOn) this.disconnect();
      else if (!this.source) this.connect();
    });
  }

  /** @param {string} pipe id @param {{name: string, kind: string, encoding: string, rate: number}} facts */
  open(pipe, facts) {
    this.silence();
    this.pipe = pipe;
    this.section.hidden = false;
    at("title").textContent = facts.name;
    at("rate").value = facts.rate ? String(facts.rate) : "";
    at("as-label").hidden = facts.encoding !== "bytes";
    at("as").value = "";
    this.kind("");
    this.connect();
    at("title").focus();
  }

  close() {
    this.silence();
    this.disconnect();
    this.section.hidden = true;
    /** @type {HTMLElement | null} */ (document.querySelector(`[data-pipe="${this.pipe}"]`))?.focus();
  }

  disconnect() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  /** Begin anew, with the options that are chosen now. */
  connect() {
    this.disconnect();
    this.clear();
    const choice = new URLSearchParams({ pipe: this.pipe, window: at("window").value, as: at("as").value });
    if (this.sound.isOn) choice.set("sound", "1");
    this.source = new EventSource(`/tap?${choice}`);
    this.source.addEventListener("tap", (event) => this.show(JSON.parse(event.data)));
    this.source.addEventListener("error", () => {
      if (this.source?.readyState === EventSource.CLOSED) this.refused(choice);
      else at("state").textContent = "no connection to the page's server; trying again ...";
    });
  }

  /** Say why the server refuses, and ask it again after a while. @param {URLSearchParams} choice */
  async refused(choice) {
    this.disconnect();
    this.again = setTimeout(() => this.connect(), AGAIN_MS);
    const answer = await fetch(`/tap?${choice}`).catch(() => null);
    const text = answer && !answer.ok ? await answer.text() : "";
    answer?.body?.cancel().catch(() => undefined);
    if (!this.source) at("state").textContent = text.startsWith("{") ? JSON.parse(text).error : text || "the page's server does not answer";
  }

  clear() {
    this.history = new History(LINE_S);
    this.chart.clear();
    this.spectrogram.clear();
    this.values = [];
    at("values").replaceChildren();
    at("peak").textContent = at("sound").textContent = "";
    at("state").textContent = "waiting for blocks ...";
  }

  /** Show the parts for one kind of value. @param {string} kind */
  kind(kind) {
    for (const part of this.section.querySelectorAll("[data-kind]")) {
      /** @type {HTMLElement} */ (part).hidden = /** @type {HTMLElement} */ (part).dataset.kind !== kind;
    }
  }

  /** @param {any} update of the server (fission.dashboard.tap_view) */
  show(update) {
    if (update.reason) {
      at("state").textContent = update.reason;
      return;
    }
    if (!update.values.length) return;
    const facts = [`block ${update.sqn}`, update.type];
    if (update.odd) facts.push(`${update.odd} numbers are not finite`);
    if (update.missed) facts.push(`${update.missed} blocks passed without a look`);
    if (update.note) facts.push(update.note);
    at("state").textContent = facts.join(", ");
    this.list(update.values);
    this.kind(update.kind);
    if (update.rate && !at("rate").value) at("rate").value = String(update.rate);
    if (update.line) this.plot(update.line);
    if (update.oscilloscope) drawScope(at("scope"), update.oscilloscope);
    if (update.spectrogram) this.spectrum(update.spectrogram);
    if (update.image) this.picture(update.image);
    if (update.sound && this.sound.isOn) at("sound").textContent = this.sound.add(update.sound, Number(at("rate").value));
  }

  /** @param {[number, number, string][]} values number, head and text of each, which is shown as text and nothing else */
  list(values) {
    this.values = [...this.values, ...values].slice(-MOST_VALUES);
    at("values").replaceChildren(
      ...[...this.values].reverse().map(([number, head, text]) => {
        const item = document.createElement("li");
        item.textContent = `${number}${head ? ` head ${head}` : ""}: ${text}`;
        return item;
      }),
    );
  }

  /** @param {[number, number | null, number | null][]} points time, least and greatest number */
  plot(points) {
    for (const [time, low, high] of points) this.history.add("numbers", time, { low, high });
    this.chart.show(this.history.data("numbers", ["low", "high"]));
  }

  /** @param {any} fresh columns */
  spectrum(fresh) {
    this.spectrogram.add(fresh);
    const rate = Number(at("rate").value);
    const frequency = rate > 0 ? `${short(fresh.peak * rate)} Hz` : `${short(fresh.peak)} of the rate of samples`;
    const half = rate > 0 ? `${short(rate / 2)} Hz` : "half the rate of samples";
    at("peak").textContent = `strongest: ${frequency}; the picture reaches from ${fresh.both ? `minus ${half}` : 0} to ${half}`;
  }

  /** @param {any} image */
  picture(image) {
    drawImage(at("image"), image);
    const odd = image.odd ? `; ${image.odd} numbers are not finite` : "";
    const range = image.colours === 1 ? `dark: ${short(image.low)}, bright: ${short(image.high)}` : "in colour";
    at("image-text").textContent = `${image.of[0]} columns, ${image.of[1]} rows; ${range}${odd}${image.note ? `; ${image.note}` : ""}`;
  }

  toggle() {
    if (this.sound.isOn) this.silence();
    else {
      if (!(Number(at("rate").value) > 0)) {
        at("sound").textContent = "Enter the samples per second first.";
        at("rate").focus();
        return;
      }
      this.sound.start();
      at("play").setAttribute("aria-pressed", "true");
      at("play").textContent = "Stop playing";
    }
    this.connect();
  }

  silence() {
    this.sound.stop();
    at("play").setAttribute("aria-pressed", "false");
    at("play").textContent = "Play";
    at("sound").textContent = "";
  }
}
