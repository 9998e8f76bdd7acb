// The page of a running network: joins the stream of messages to the views.

import { ConsoleForm, Operator, RecordButton, confirmed } from "./act.js";
import { HISTORY_S, JobFacts, NodeFacts, PipeFacts, recall, remember } from "./facts.js";
import { GraphView } from "./graph.js";
import { append } from "./log.js";
import { History, bytes, concerns, duration, merged, offset, rate } from "./model.js";
import { NodePanel } from "./node.js";
import { TableView } from "./tables.js";
import { TapPanel } from "./tap.js";

const MOST_EVENTS = 2000;

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

/** @type {any} the document */
let state = {};
let chosen = "";
const operator = new Operator();
const consoleForm = new ConsoleForm(operator);
const recordButton = new RecordButton(operator);
const history = new History(HISTORY_S);
/** What jobs have written, and everything else that has happened, for the panel of a job.
 * @type {any[]} */
const written = [];
/** @type {any[]} */
const happened = [];

const [jobFacts, pipeFacts, nodeFacts] = [new JobFacts(history), new PipeFacts(history), new NodeFacts(history)];
const tap = new TapPanel(at("tap"));
const nodePanel = new NodePanel();
const graph = new GraphView(at("graph"), choose, look);
const jobs = new TableView(
  at("jobs"),
  "Jobs",
  [
    ["Job", (job) => job.name],
    ["Node", (job) => job.node ?? "-"],
    ["State", (job) => job.state],
    ["Limited by", (job) => job.limit ?? "-"],
    ["In", (job) => rate(job.in_per_s)],
    ["Out", (job) => rate(job.out_per_s)],
    ["Queue", (job) => String(job.queue ?? "-")],
    ["Latency", (job) => duration(job.latency_s)],
    ["CPU", (job) => (job.cpu === undefined ? "-" : `${job.cpu.toFixed(0)} %`)],
    ["Memory", (job) => bytes(job.memory)],
    ["Restarts", (job) => String(job.restarts)],
  ],
  choose,
);
const pipes = new TableView(at("pipes"), "Pipes", [
  ["Pipe", (pipe, key) => `${key} ${pipe.kind}`],
  ["From", (pipe) => state.jobs?.[pipe.source]?.name ?? "-"],
  ["To", (pipe) => state.jobs?.[pipe.target]?.name ?? "-"],
  ["Rate", (pipe) => rate(pipe.per_s)],
  ["Queue", (pipe) => String(pipe.queue ?? "-")],
  ["Dropped", (pipe) => String(pipe.dropped ?? "-")],
  ["Latency", (pipe) => duration(pipe.latency_s)],
  ["Recording", (_, key) => (state.recordings?.[key]?.running ? bytes(state.recordings[key].bytes) : "-")],
], look);
const paths = new TableView(at("paths"), "Latencies", [
  ["From", (path) => path.source_name],
  ["To", (path) => path.sink_name],
  ["Blocks", (path) => String(path.blocks)],
  ["Min", (path) => duration(path.min_s)],
  ["p50", (path) => duration(path.p50_s)],
  ["p99", (path) => duration(path.p99_s)],
  ["Uncertainty", (path) => duration(path.uncertainty_s)],
  ["Late", (path) => (path.judged === undefined ? "-" : `${path.late} of ${path.judged}`)],
]);
const nodes = new TableView(at("nodes"), "Nodes", [
  ["Node", (_, key) => key],
  ["Address", (node) => node.ip || "-"],
  ["State", (node) => (node.up ? "up" : "lost")],
  ["Free CPU", (node) => (node.cpu === undefined ? "-" : `${node.cpu.toFixed(0)} %`)],
  ["Free memory", (node) => bytes(node.memory)],
  ["Round trip", (node) => duration(node.rtt)],
  ["Clock ahead", (node) => offset(node.clock_offset, node.clock_error)],
  ["Jobs", (node) => node.jobs.join(", ") || "-"],
], lookAt);

/** @param {string} job id */
function choose(job) {
  chosen = job;
  at("detail").hidden = false;
  for (const id of ["detail-history", "detail-output"]) at(id).replaceChildren();
  showHistory(happened);
  showHistory(written);
  showDetail();
  recall(history, `job ${job}`, showDetail);
  at("detail-title").focus();
}

/** @param {string} pipe id */
function look(pipe) {
  const { kind, source, target, encoding, rate } = state.pipes[pipe];
  const name = `Pipe ${pipe}: ${state.jobs?.[source]?.name ?? "-"} to ${state.jobs?.[target]?.name ?? "-"}`;
  tap.open(pipe, { name, kind, encoding, rate: rate ?? 0 });
  showPipe();
  recall(history, `pipe ${pipe}`, showPipe);
}

/** @param {string} node name */
function lookAt(node) {
  nodePanel.open(node);
  showNode();
  recall(history, `node ${node}`, showNode);
}

function showRecording() {
  recordButton.show(tap.pipe, state.recordings?.[tap.pipe], !!state.running);
}

function showDetail() {
  const job = state.jobs?.[chosen];
  if (!job) return;
  consoleForm.show(chosen, job);
  at("detail-title").textContent = job.name;
  jobFacts.show(state, chosen);
}

function showPipe() {
  pipeFacts.show(state, tap.pipe);
  showRecording();
}

function showNode() {
  nodeFacts.show(state, nodePanel.node);
}

/** Draw a part of the page; one that fails is reported, and must not leave the others blank.
 * @param {() => void} draw */
function part(draw) {
  try {
    draw();
  } catch (error) {
    reportError(error);
  }
}

function show() {
  at("network").textContent = state.network ?? "FISSION";
  document.title = state.network ? `${state.network} - FISSION` : "FISSION";
  const isKnown = state.running !== undefined;
  at("state").textContent = state.running ? `running, run ${state.run}` : isKnown ? "not running" : "asking the network ...";
  at("state").className = state.running ? "up" : isKnown ? "down" : "";
  at("reason").hidden = !!state.running || !state.reason;
  at("reason").textContent = state.reason ?? "";
  at("stop").disabled = !state.running;
  part(() => graph.show(state));
  part(() => jobs.show(state.jobs ?? {}));
  part(() => pipes.show(state.pipes ?? {}));
  part(() => paths.show(state.paths ?? {}));
  part(() => nodes.show(state.nodes ?? {}));
  part(showFailovers);
  remember(history, state, Date.now() / 1000);
  if (!at("detail").hidden) part(showDetail);
  if (!at("tap").hidden) part(showPipe);
  if (!at("node").hidden) part(showNode);
}

/** Lines are only added and removed, so that a screen reader says the new ones alone. */
function showFailovers() {
  const list = at("failovers");
  const [first, texts] = [state.failovers_omitted ?? 0, state.failovers ?? []];
  const wanted = new Map(texts.map((/** @type {string} */ text, /** @type {number} */ index) => [first + index + 1, text]));
  for (const item of [...list.children]) {
    if (wanted.get(item.value) === item.textContent) wanted.delete(item.value);
    else item.remove();
  }
  for (const [number, text] of wanted) {
    const item = document.createElement("li");
    item.value = number;
    item.textContent = text;
    list.append(item);
  }
}

/** @param {any[]} events */
function note(events) {
  append(at("log"), events);
  for (const event of events) (event.event === "ShowOutput" ? written : happened).push(event);
  for (const kept of [written, happened]) kept.splice(0, kept.length - MOST_EVENTS);
  if (!at("detail").hidden) showHistory(events);
}

/** Show what of the events belongs to the chosen job. @param {any[]} events */
function showHistory(events) {
  const job = { id: chosen, name: state.jobs?.[chosen]?.name ?? "" };
  append(at("detail-history"), events.filter((event) => event.event !== "ShowOutput" && concerns(event, job)));
  append(at("detail-output"), events.filter((event) => event.event === "ShowOutput" && concerns(event, job)));
}

at("close-detail").addEventListener("click", () => {
  at("detail").hidden = true;
  /** @type {HTMLElement | null} */ (document.querySelector(`[data-job="${chosen}"]`))?.focus();
});
confirmed(at("stop"), "Really stop it?", async () => {
  const text = await operator.post("/stop");
  if (text) note([{ event: "ShowText", kind: "warning", text, at: Date.now() / 1000 }]);
});
for (const [name, text] of [
  ["busy", "busy: computes"],
  ["idle", "idle: sleeps in run"],
  ["starved", "starved: waits for blocks"],
  ["blocked", "blocked: waits for room"],
  ["starting", "starting"],
  ["lost", "lost: starts again"],
  ["failed", "failed"],
  ["finished", "finished"],
]) {
  const item = document.createElement("li");
  item.className = name;
  item.textContent = text;
  at("legend").append(item);
}

addEventListener("resize", () => {
  part(() => graph.show(state));
});

/** Milliseconds after which a server that refused is asked again; arbitrary. */
const AGAIN_MS = 2000;
/** Milliseconds after which a page that is not seen lets go of the server: a browser has six connections for all its pages. Arbitrary. */
const HIDDEN_MS = 10_000;
/** @type {EventSource | null} */
let messages = null;
/** @type {ReturnType<typeof setTimeout> | undefined} of what is to be done next with the connection */
let next;

/** Follow the network, for as long as the page is seen. */
function follow() {
  clearTimeout(next);
  messages?.close();
  messages = listen();
}

function listen() {
  const messages = new EventSource("/messages");
  messages.addEventListener("visitor", (event) => {
    const visitor = JSON.parse(event.data);
    operator.is(visitor);
    at("stop").hidden = !operator.mayAct;
  });
  messages.addEventListener("document", (event) => {
    state = JSON.parse(event.data);
    show();
  });
  messages.addEventListener("patch", (event) => {
    state = merged(state, JSON.parse(event.data));
    show();
  });
  messages.addEventListener("events", (event) => {
    at("log").replaceChildren();
    written.length = happened.length = 0;
    for (const id of ["detail-history", "detail-output"]) at(id).replaceChildren();
    note(JSON.parse(event.data));
  });
  messages.addEventListener("happened", (event) => note(JSON.parse(event.data)));
  messages.addEventListener("error", () => {
    at("state").textContent = "no connection to the page's server; trying again ...";
    at("state").className = "down";
    // A browser tries again by itself after a broken connection, but not after an answer like 503.
    if (messages.readyState === EventSource.CLOSED) refused();
  });
  return messages;
}

/** Try again later, and say whether this page must log in again. */
async function refused() {
  clearTimeout(next);
  next = setTimeout(follow, AGAIN_MS);
  const answer = await fetch("/").catch(() => null);
  if (answer?.status === 401) at("state").textContent = (await answer.text()).trim();
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(next);
  if (!document.hidden) {
    if (messages?.readyState !== EventSource.OPEN) follow();
    return;
  }
  next = setTimeout(() => messages?.close(), HIDDEN_MS);
});
follow();
