// The graph: jobs in frames for their nodes, pipes with their rates. Drawn anew when jobs move, refreshed in place otherwise.

import { Graph, layout } from "./libraries/dagre.esm.js";
import { condition, rate, structure } from "./model.js";
import { MOST_LETTERS, acts, element, fitted, shortened, spoken, tip } from "./svg.js";

const BOX = { width: 150, height: 46 };
/** Size of the frame of a lost node, whose jobs are elsewhere. */
const EMPTY = { width: 110, height: 46 };
const CLIENT = "client (local jobs)";

export class GraphView {
  /** @param {HTMLElement} place @param {(job: string) => void} chosen called when the user chooses a job
   * @param {(pipe: string) => void} looked called when the user chooses a pipe */
  constructor(place, chosen, looked) {
    this.place = place;
    this.chosen = chosen;
    this.looked = looked;
    this.drawn = "";
    /** @type {Map<string, SVGElement>} */
    this.boxes = new Map();
    /** @type {Map<string, {arrow: SVGElement, path: SVGElement, text: SVGElement}>} */
    this.arrows = new Map();
    /** @type {Map<string, SVGElement>} */
    this.frames = new Map();
    /** Nodes that were up while this page was open: those that are lost stay in the picture. @type {Set<string>} */
    this.known = new Set();
    this.run = "";
  }

  /** @param {any} state @returns {string[]} names of the nodes that were lost while this page was open, and of no others */
  lost(state) {
    if (state.run !== this.run) this.known.clear();
    this.run = state.run;
    const nodes = Object.entries(state.nodes ?? {});
    for (const [name, node] of nodes) if (node.up) this.known.add(name);
    return nodes.filter(([name, node]) => !node.up && this.known.has(name)).map(([name]) => name);
  }

  /** @param {any} state the document */
  show(state) {
    const lost = this.lost(state);
    const wanted = Object.keys(state.jobs ?? {}).length ? `${this.isNarrow()} ${structure(state)} ${lost}` : "";
    if (wanted !== this.drawn) {
      this.draw(state, lost);
      this.drawn = wanted;
    }
    for (const [id, box] of this.boxes) {
      const job = state.jobs[id];
      if (!job) continue;
      box.setAttribute("class", `job ${condition(job)} ${job.limit ?? ""}`);
      const second = job.state === "running" ? `${job.limit ?? "running"}${job.restarts ? `, ${job.restarts} restarts` : ""}` : job.state;
      const text = box.querySelector(".second");
      if (text) text.textContent = second;
      box.setAttribute("aria-label", spoken(box, job.name, job.node ? `, on ${job.node}` : ""));
    }
    for (const [id, { arrow, path, text }] of this.arrows) {
      const pipe = state.pipes[id];
      if (!pipe) continue;
      const source = state.jobs[pipe.source];
      path.setAttribute("class", `pipe ${pipe.optional ? "optional" : ""} ${source?.limit === "blocked" ? "pressed" : ""}`);
      text.textContent = `${id}: ${rate(pipe.per_s)}${pipe.queue ? `, ${pipe.queue} queued` : ""}`;
      const ends = `from ${source?.name ?? "-"} to ${state.jobs[pipe.target]?.name ?? "-"}`;
      arrow.setAttribute("aria-label", `${text.textContent}: look into the pipe ${ends}`);
    }
    for (const [name, frame] of this.frames) {
      const isLost = state.nodes?.[name]?.up === false;
      frame.setAttribute("class", `node ${isLost ? "down" : ""}`);
      const text = frame.querySelector("text");
      if (text) text.textContent = isLost ? `${name}: lost` : name;
    }
  }

  isNarrow() {
    return this.place.clientWidth < 700;
  }

  /** @param {any} state @param {string[]} lost names of nodes that are drawn even without jobs */
  draw(state, lost) {
    this.boxes.clear();
    this.arrows.clear();
    this.frames.clear();
    this.place.replaceChildren();
    if (!Object.keys(state.jobs ?? {}).length) return;
    const graph = new Graph({ compound: true, multigraph: true });
    graph.setGraph({ rankdir: this.isNarrow() ? "TB" : "LR", nodesep: 24, ranksep: 50, marginx: 16, marginy: 16 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const node of lost) graph.setNode(`node ${node}`, { label: node, ...EMPTY });
    for (const [id, job] of Object.entries(state.jobs ?? {})) {
      graph.setNode(`job ${id}`, { ...BOX });
      const node = job.local ? CLIENT : job.node;
      if (node) {
        graph.setNode(`node ${node}`, { ...graph.node(`node ${node}`), label: node });
        graph.setParent(`job ${id}`, `node ${node}`);
      }
    }
    for (const [id, pipe] of Object.entries(state.pipes ?? {})) {
      const label = { width: 110, height: 16, labelpos: "c" };
      graph.setEdge(`job ${pipe.source}`, `job ${pipe.target}`, label, id);
    }
    layout(graph);
    this.paint(graph, state);
  }

  /** @param {any} graph @param {any} state */
  paint(graph, state) {
    const { width, height } = graph.graph();
    const picture = fitted(width, height);
    for (const key of graph.nodes().filter((/** @type {string} */ key) => key.startsWith("node "))) {
      const { x, y, width, height, label } = graph.node(key);
      const [left, top] = [x - width / 2, y - height / 2];
      const frame = element("g", { class: "node" }, element("rect", { x: left, y: top, width, height, rx: 8 }));
      frame.append(element("text", { x: left + 8, y: top + 14 }, label));
      picture.append(frame);
      this.frames.set(label, frame);
    }
    for (const edge of graph.edges()) {
      const { points, x, y } = graph.edge(edge);
      const d = `M${points.map((/** @type {{x: number, y: number}} */ point) => `${point.x} ${point.y}`).join("L")}`;
      const path = element("path", { d, "marker-end": tip });
      const text = element("text", { x, y: y - 4, class: "rate" });
      const arrow = element("g", { class: "arrow", tabindex: 0, role: "button", "data-pipe": edge.name });
      arrow.append(element("path", { d, class: "reach" }), path, text);
      acts(arrow, () => this.looked(edge.name));
      picture.append(arrow);
      this.arrows.set(edge.name, { arrow, path, text });
    }
    for (const [id, job] of Object.entries(state.jobs ?? {})) {
      const { x, y } = graph.node(`job ${id}`);
      const box = element("g", { tabindex: 0, role: "button", "data-job": id });
      box.append(element("rect", { x: x - BOX.width / 2, y: y - BOX.height / 2, ...BOX, rx: 6 }));
      box.append(element("text", { x, y: y - 4, class: "first" }, job.name.slice(0, MOST_LETTERS)));
      box.append(" ", element("text", { x, y: y + 14, class: "second" }));
      acts(box, () => this.chosen(id));
      picture.append(box);
      this.boxes.set(id, box);
    }
    this.place.replaceChildren(picture);
    shortened(this.place, ".first", BOX.width - 12);
  }
}
