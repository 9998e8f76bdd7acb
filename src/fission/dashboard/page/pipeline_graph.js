// The graph of one pipeline: its jobs, each after those that it needs. Laid out anew for another graph, refreshed in place otherwise.

import { Graph, layout } from "./libraries/dagre.esm.js";
import { MOST_LETTERS, acts, element, fitted, shortened, spoken, tip } from "./svg.js";

const BOX = { width: 150, height: 46 };
/** Jobs that are drawn at most: more of them are only in the table. */
export const MOST_DRAWN = 200;

/** What a job has gone through, in a few words.
 * @param {any} job as the server sends it */
export function summary(job) {
  return `${job.state}${job.tries > 1 ? `, ${job.tries} tries` : ""}`;
}

export class PipelineGraph {
  /** @param {HTMLElement} place @param {(job: number) => void} chosen called when the user chooses a job */
  constructor(place, chosen) {
    this.place = place;
    this.chosen = chosen;
    this.drawn = "";
    /** @type {Map<number, SVGElement>} */
    this.boxes = new Map();
  }

  /** @param {string} pipeline its id @param {any[]} jobs all of them; empty: there is nothing to draw */
  show(pipeline, jobs) {
    const narrow = this.place.clientWidth < 700;
    const wanted = JSON.stringify([pipeline, narrow, jobs.map((job) => [job.job, job.worker, job.after])]);
    if (wanted !== this.drawn) this.draw(jobs, narrow);
    this.drawn = wanted;
    for (const job of jobs) {
      const box = this.boxes.get(job.job);
      const text = box?.querySelector(".second");
      if (!box || !text) continue;
      box.setAttribute("class", `job ${job.state}`);
      text.textContent = summary(job);
      box.setAttribute("aria-label", spoken(box, job.worker, job.error ? `, ${job.error}` : ""));
    }
  }

  /** @param {any[]} jobs @param {boolean} narrow */
  draw(jobs, narrow) {
    this.boxes.clear();
    this.place.replaceChildren();
    if (!jobs.length) return;
    const graph = new Graph();
    graph.setGraph({ rankdir: narrow ? "TB" : "LR", nodesep: 20, ranksep: 40, marginx: 8, marginy: 8 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const job of jobs) graph.setNode(String(job.job), { ...BOX });
    for (const job of jobs) for (const before of job.after) graph.setEdge(String(before), String(job.job));
    layout(graph);
    const { width, height } = graph.graph();
    const picture = fitted(width, height);
    for (const edge of graph.edges()) {
      const { points } = graph.edge(edge);
      const d = `M${points.map((/** @type {{x: number, y: number}} */ point) => `${point.x} ${point.y}`).join("L")}`;
      picture.append(element("path", { d, class: "pipe", "marker-end": tip }));
    }
    for (const job of jobs) {
      const { x, y } = graph.node(String(job.job));
      const box = element("g", { tabindex: 0, role: "button", "data-job": job.job });
      box.append(element("rect", { x: x - BOX.width / 2, y: y - BOX.height / 2, ...BOX, rx: 6 }));
      box.append(element("text", { x, y: y - 4, class: "first" }, job.worker.slice(0, MOST_LETTERS)));
      box.append(" ", element("text", { x, y: y + 14, class: "second" }));
      acts(box, () => this.chosen(job.job));
      picture.append(box);
      this.boxes.set(job.job, box);
    }
    this.place.replaceChildren(picture);
    shortened(this.place, ".first", BOX.width - 12);
  }
}
