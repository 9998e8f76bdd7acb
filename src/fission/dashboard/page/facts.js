// Facts and rates in the panels of a job, a pipe and a node.

import { LineChart } from "./chart.js";
import { bytes, duration, offset, rate, share } from "./model.js";

/** Seconds for which rates are kept. */
export const HISTORY_S = 300;
/** Pixels. */
const HEIGHT = 120;
const MEGABYTE = 1024 * 1024;

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

/** @param {string} id of a list of definitions @param {string[][]} facts name and value of each */
function list(id, facts) {
  const elements = facts.flatMap(([name, value]) => {
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, description.textContent] = [name, value];
    return [term, description];
  });
  at(id).replaceChildren(...elements);
}

/** How long blocks were under way from each source to a job, in words.
 * @param {any} state the document @param {string} job id
 * @returns {string[][]} name and value of each fact */
export function latencies(state, job) {
  const rows = Object.values({ ...state.paths, ...state.inner_paths }).filter((path) => String(path.sink) === job);
  return rows.map((path) => {
    const error = path.uncertainty_s ? ` (+/- ${duration(path.uncertainty_s)})` : "";
    return [`Latency from ${path.source_name}`, `half ${duration(path.p50_s)}, 99 % ${duration(path.p99_s)}${error}`];
  });
}

/** Keep what the panels draw.
 * @param {import("./model.js").History} history @param {any} state the document @param {number} now seconds */
export function remember(history, state, now) {
  const jobs = Object.entries(state.jobs ?? {});
  for (const [id, job] of jobs) {
    const memory = job.memory === undefined ? null : job.memory / MEGABYTE;
    history.add(`job ${id}`, now, { in: job.in_per_s ?? null, out: job.out_per_s ?? null, cpu: job.cpu ?? null, memory });
  }
  for (const [id, pipe] of Object.entries(state.pipes ?? {})) history.add(`pipe ${id}`, now, { sent: pipe.per_s ?? null });
  for (const [name, node] of Object.entries(state.nodes ?? {})) {
    const there = jobs.filter(([, job]) => job.node === name).map(([, job]) => job);
    const sum = (/** @type {string} */ key) => there.reduce((total, job) => total + (job[key] ?? 0), 0);
    history.add(`node ${name}`, now, { in: sum("in_per_s"), out: sum("out_per_s"), cpu: node.cpu ?? null });
  }
}

/** Ask the server for what was before this page was opened.
 * @param {import("./model.js").History} history @param {string} key of what is opened @param {() => void} show called when it is known */
export async function recall(history, key, show) {
  const answer = await fetch(`/history?${new URLSearchParams({ of: key })}`).catch(() => null);
  const found = answer?.ok ? await answer.json().catch(() => null) : null;
  if (!found?.ago?.length) return;
  const now = Date.now() / 1000;
  history.precede(key, found.ago.map((/** @type {number} */ ago) => now - ago), found.series);
  show();
}

export class JobFacts {
  /** @param {import("./model.js").History} history */
  constructor(history) {
    this.history = history;
    this.rates = new LineChart(at("detail-chart"), HEIGHT, ["in /s", "out /s"]);
    this.cpu = new LineChart(at("detail-cpu"), HEIGHT, ["CPU %"]);
    this.memory = new LineChart(at("detail-memory"), HEIGHT, ["memory MB"]);
  }

  /** @param {any} state the document @param {string} id of a job that is in it */
  show(state, id) {
    const job = state.jobs[id];
    list("detail-facts", [
      ["State", job.state],
      ["Node", job.node ?? "-"],
      ["Why there", job.node ? job.placed || "it stayed there when it was started again" : "-"],
      ["Groups", job.groups.join(", ")],
      ["Process", String(job.pid ?? "-")],
      ["Restarts", String(job.restarts)],
      ...latencies(state, id),
      ["CPU", job.cpu === undefined ? "-" : `${job.cpu.toFixed(0)} % of a core`],
      ["Memory", bytes(job.memory)],
      ["Busy", share(job.shares?.busy)],
      ["Idle", share(job.shares?.idle)],
      ["Starved", share(job.shares?.starved)],
      ["Blocked", share(job.shares?.blocked)],
      ["Standstill", job.standing ?? "-"],
    ]);
    this.rates.show(this.history.data(`job ${id}`, ["in", "out"]));
    this.cpu.show(this.history.data(`job ${id}`, ["cpu"]));
    this.memory.show(this.history.data(`job ${id}`, ["memory"]));
  }
}

export class PipeFacts {
  /** @param {import("./model.js").History} history */
  constructor(history) {
    this.history = history;
    this.rates = new LineChart(at("tap-rates"), HEIGHT, ["blocks /s"]);
  }

  /** @param {any} state the document @param {string} id of a pipe */
  show(state, id) {
    const pipe = state.pipes?.[id];
    if (!pipe) return;
    const isBlocked = state.jobs?.[pipe.source]?.limit === "blocked";
    list("tap-facts", [
      ["Rate", rate(pipe.per_s)],
      ["Queue", `${pipe.queue ?? "-"} blocks${isBlocked ? "; its producer waits for room" : ""}`],
      ["Dropped", `${pipe.dropped ?? "-"} blocks`],
      ["Latency of the pipe", duration(pipe.latency_s)],
      ...latencies(state, String(pipe.target)).map(([name, value]) => [`${name} to ${state.jobs?.[pipe.target]?.name}`, value]),
    ]);
    this.rates.show(this.history.data(`pipe ${id}`, ["sent"]));
  }
}

export class NodeFacts {
  /** @param {import("./model.js").History} history */
  constructor(history) {
    this.history = history;
    this.rates = new LineChart(at("node-rates"), HEIGHT, ["in /s", "out /s"]);
    this.cpu = new LineChart(at("node-cpu"), HEIGHT, ["free CPU %"]);
  }

  /** @param {any} state the document @param {string} name of a node */
  show(state, name) {
    const node = state.nodes?.[name];
    if (!node) return;
    list("node-facts", [
      ["State", node.up ? "up" : "lost"],
      ["Address", node.ip || "-"],
      ["Groups", node.groups?.join(", ") || "-"],
      ["Free CPU", node.cpu === undefined ? "-" : `${node.cpu.toFixed(0)} %`],
      ["Free memory", bytes(node.memory)],
      ["Free disk", bytes(node.disk)],
      ["Round trip", duration(node.rtt)],
      ["Clock ahead", offset(node.clock_offset, node.clock_error)],
      ["Jobs", node.jobs.join(", ") || "-"],
    ]);
    this.rates.show(this.history.data(`node ${name}`, ["in", "out"]));
    this.cpu.show(this.history.data(`node ${name}`, ["cpu"]));
  }
}
