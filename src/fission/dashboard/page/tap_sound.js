// Plays the samples that pass on a pipe (Web Audio).

import { floatsOf } from "./tap_draw.js";

/** Seconds that sound waits before it is played, so that the next update comes in time. */
const AHEAD_S = 0.4;
/** Seconds of sound that may wait; more is left out, since it would be heard later and later. */
const MOST_AHEAD_S = 1.5;

export class Sound {
  constructor() {
    /** @type {AudioContext | null} */
    this.context = null;
    this.until = 0;
    /** Samples that were scheduled, for tests. */
    this.played = 0;
  }

  get isOn() {
    return this.context !== null;
  }

  /** Must be called by a click: browsers allow sound then. */
  start() {
    this.context = new AudioContext();
    this.until = 0;
    this.played = 0;
  }

  stop() {
    this.context?.close();
    this.context = null;
  }

  /** @param {{samples: string, gap: boolean}} sound @param {number} rate samples per second
   * @returns {string} what the user should know; empty: nothing */
  add(sound, rate) {
    const { context } = this;
    const samples = floatsOf(sound.samples);
    if (!context || !samples.length) return "";
    if (!(rate >= 3000 && rate <= 384000)) return "Sound needs 3000 to 384000 samples per second.";
    const now = context.currentTime;
    if (this.until < now) this.until = now + AHEAD_S;
    if (this.until > now + MOST_AHEAD_S) return "More samples come than this rate says: some are left out.";
    let buffer;
    try {
      buffer = context.createBuffer(1, samples.length, rate);
    } catch {
      return `This browser does not play ${rate} samples per second.`;
    }
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    source.start(this.until);
    this.until += buffer.duration;
    this.played += samples.length;
    return sound.gap && this.played > samples.length ? "Some blocks were not taken: there are gaps." : "Playing.";
  }
}
