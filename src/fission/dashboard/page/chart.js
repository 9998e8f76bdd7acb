// Lines over time: a chart as wide as its place, in the colours of the page.

import uPlot from "./libraries/uPlot.esm.js";

const STROKES = ["#2a6fdb", "#d9822b"];
/** Width of a chart in a place that is not shown now. */
const NARROWEST = 200;

/** Seconds that a chart has at least: one of a single moment would reach over years. */
const LEAST_S = 10;

/** @param {uPlot} chart @returns {[number, number]} the seconds that are shown */
function spread(chart) {
  const times = chart.data[0];
  const end = times[times.length - 1] ?? Date.now() / 1000;
  return [Math.min(times[0] ?? end, end - LEAST_S), end];
}

/** @param {string} name of a custom property */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class LineChart {
  /** @param {HTMLElement} place @param {number} height in pixels @param {string[]} labels of the lines */
  constructor(place, height, labels) {
    this.place = place;
    this.height = height;
    this.labels = labels;
    /** @type {uPlot | null} */
    this.chart = null;
    new ResizeObserver(() => this.fit()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.chart?.redraw());
  }

  get width() {
    return Math.max(NARROWEST, this.place.clientWidth - 8);
  }

  fit() {
    if (this.chart && this.place.clientWidth && this.chart.width !== this.width) this.chart.setSize({ width: this.width, height: this.height });
  }

  /** @param {(number | null)[][]} data times in seconds, then the values of each line */
  show(data) {
    const values = /** @type {any} */ (data);
    const times = values[0];
    this.place.dataset.seconds = String(times.length ? times[times.length - 1] - times[0] : 0);
    if (this.chart) {
      this.chart.setData(values);
      return;
    }
    const axis = { stroke: () => colour("--text"), grid: { stroke: () => colour("--line") }, ticks: { stroke: () => colour("--line") } };
    const series = [{}, ...this.labels.map((label, index) => ({ label, stroke: STROKES[index] }))];
    const scales = { x: { range: spread } };
    this.chart = new uPlot({ width: this.width, height: this.height, axes: [axis, axis], series, scales }, values, this.place);
  }

  clear() {
    this.chart?.destroy();
    this.chart = null;
  }
}
