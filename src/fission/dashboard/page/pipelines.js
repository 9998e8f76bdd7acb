// The page of the pipelines: asks the server once a second while it is seen, and fills the views.

import { LineChart } from "./chart.js";
import { rate } from "./model.js";
import { PipelinePanel, facts, moment } from "./pipeline_panel.js";
import { TableView } from "./tables.js";

const EVERY_MS = 1000;
/** Rounds in which lists are asked for after a change: the server may answer with what it knew a second ago. */
const AFTER_CHANGE = 3;
/** Rounds after which they are asked for in any case. */
const ANYWAY = 10;
const STATES = ["waiting", "running", "finished", "failed", "cancelled"];

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

let formToken = "";
let isKnown = false;
let filter = "";
let before = 0;
let stamp = "";
let fresh = AFTER_CHANGE;
let rounds = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let asking = false;
let again = false;
/** @type {any[]} */
let rows = [];
/** @type {[number, number, number][]} age, finished, failed */
let rates = [];
const chart = new LineChart(at("throughput"), 180, ["finished /s", "failed tries /s"]);

const list = new TableView(
  at("list"),
  "Pipelines",
  [
    ["Pipeline", (row) => row.id],
    ["State", (row) => row.state],
    ["Accepted", (row) => moment(row.accepted)],
    ["Duration", (row) => (row.duration === null ? "-" : `${row.duration.toFixed(2)} s`)],
    ["Priority", (row) => String(row.priority)],
    ["Data", (row) => row.data || "-"],
    ["Error, or waits for", (row) => row.error || row.waits_for.join("; ") || "-"],
  ],
  (key) => open(key.slice(1)),
);
const brokers = new TableView(at("brokers"), "Brokers", [
  ["Broker", (broker) => broker.broker],
  ["Hosts", (broker) => broker.addresses.join(", ") || "-"],
  ["Processes", (broker) => String(broker.processes)],
  ["Busy", (broker) => String(broker.busy)],
  ["Workers", (broker) => broker.workers.join(", ")],
]);
const panel = new PipelinePanel(
  () => refresh(),
  () => {
    const id = location.hash.slice(1);
    history.replaceState(null, "", " ");
    /** @type {HTMLElement | null | undefined} */ (list.rows.get(`#${id}`)?.querySelector("button"))?.focus();
  },
  async (action, id) => (await ask(`/pipelines/${encodeURIComponent(id)}/${action}`, "POST")).error ?? "",
);

/** @param {string} id of a pipeline */
function open(id) {
  history.replaceState(null, "", `#${id}`);
  panel.open(id);
}

/** @param {string} path @param {string} [method] @returns {Promise<any>} the answer, or its error */
async function ask(path, method = "GET") {
  const answer = await fetch(path, { method, headers: method === "GET" ? {} : { "x-fission-form": formToken } }).catch(() => null);
  if (!answer) return { lost: true, error: "no connection to the page's server; trying again ..." };
  const broken = () => ({ lost: true, error: "the answer of the page's server is incomplete; trying again ..." });
  if (answer.headers.get("content-type")?.startsWith("application/json")) return answer.json().catch(broken);
  return { lost: true, error: answer.status === 401 ? "Open the address that the command has printed: it ends with a token." : `the page's server answers ${answer.status}` };
}

/** Ask now, also if the values have not changed. */
function refresh() {
  fresh = AFTER_CHANGE;
  again = asking;
  if (!asking) round();
}

async function round() {
  clearTimeout(timer);
  asking = true;
  try {
    if (!document.hidden) await look();
  } catch (error) {
    reportError(error); // the next round must come all the same
  }
  asking = false;
  if (again) refresh();
  else timer = setTimeout(round, EVERY_MS);
}

async function look() {
  again = false;
  if (!isKnown) {
    const visitor = await ask("/visitor");
    if (visitor.error) return fail(visitor);
    isKnown = true;
    formToken = visitor.form;
    panel.operator = visitor.role === "operator";
  }
  const found = await ask("/overview");
  if (found.error) return fail(found);
  show(found);
  const now = JSON.stringify([found.router, found.pipelines, found.ended, found.jobs, found.given, found.processes, found.brokers.length]);
  if (now !== stamp) fresh = AFTER_CHANGE;
  stamp = now;
  rounds += 1;
  if (!fresh && rounds % ANYWAY) return;
  fresh = Math.max(0, fresh - 1);
  await Promise.all([lookAtList(), lookAtPipeline()]);
}

async function lookAtList() {
  const wanted = new URLSearchParams({ ...(filter && { state: filter }), ...(before && { before: String(before) }) });
  const asked = String(wanted);
  const found = await ask(`/pipelines?${asked}`);
  if (found.error) return fail(found);
  rows = found.pipelines;
  list.show(Object.fromEntries(rows.map((row) => [`#${row.id}`, row])));
  at("empty").hidden = !!rows.length;
  at("older").disabled = rows.length < found.rows;
  at("newest").disabled = !before;
}

async function lookAtPipeline() {
  const { id } = panel;
  if (!id) return;
  const found = await ask(`/pipelines/${encodeURIComponent(id)}`);
  if (id === panel.id) panel.show(found);
}

/** @param {{error: string, lost?: boolean}} found */
function fail(found) {
  if (found.lost) isKnown = false; // another server may come, with other tokens
  at("state").textContent = found.lost ? "no connection" : "the Router does not answer";
  at("state").className = "down";
  at("reason").hidden = false;
  if (at("reason").textContent !== found.error) at("reason").textContent = found.error;
  fresh = AFTER_CHANGE;
}

/** @param {any} found the overview */
function show(found) {
  at("reason").hidden = true;
  at("reason").textContent = "";
  at("state").textContent = `the Router runs since ${moment(found.since)}`;
  at("state").className = "up";
  for (const state of STATES) at(`count-${state}`).textContent = String(found.pipelines[state]);
  const { finished, failed, ended } = found.throughput;
  facts(at("facts"), [
    ["Jobs finished, last minute", rate(finished)],
    ["Tries failed, last minute", rate(failed)],
    ["Pipelines ended, last minute", rate(ended)],
    ["Worker processes", `${found.busy} busy of ${found.processes}`],
    ["Jobs that run or wait for a process", String(found.given)],
    ["Pipeliners", String(found.pipeliners)],
    ["Since the Router's start", `${found.jobs.finished} jobs finished, ${found.jobs.failed} failed, ${found.jobs.retried} tries repeated, ${found.jobs.lost} lost with their process`],
    ...found.missing.map((/** @type {string} */ text) => /** @type {[string, string]} */ (["Waiting", text])),
  ]);
  brokers.show(Object.fromEntries(found.brokers.map((/** @type {any} */ broker) => [`#${broker.broker}`, broker])));
  rates = found.rates;
  draw();
  at("throughput").setAttribute("aria-label", `Jobs per second over the last five minutes; in the last minute ${rate(finished)} finished and ${rate(failed)} failed`);
}

function draw() {
  const now = Date.now() / 1000;
  chart.show([rates.map(([age]) => now - age), rates.map(([, finished]) => finished), rates.map(([, , failed]) => failed)]);
}

/** Show the pipelines in a state; empty: all. @param {string} state */
function choose(state) {
  filter = at("filter").value = state;
  page(0);
}

/** @param {number} order of the pipeline before which the list begins; 0: with the newest */
function page(order) {
  before = order;
  refresh();
}

for (const state of ["", ...STATES]) {
  const option = document.createElement("option");
  option.value = state;
  option.textContent = state || "all";
  at("filter").append(option);
  if (!state) continue;
  const [item, button, number] = [document.createElement("li"), document.createElement("button"), document.createElement("b")];
  item.className = state;
  button.type = "button";
  number.id = `count-${state}`;
  number.textContent = "-";
  button.append(number, ` ${state}`);
  button.addEventListener("click", () => choose(state));
  item.append(button);
  at("counts").append(item);
}
at("filter").addEventListener("change", () => choose(at("filter").value));
at("newest").addEventListener("click", () => page(0));
at("older").addEventListener("click", () => page(rows.at(-1)?.order ?? 0));
addEventListener("resize", () => {
  if (panel.shown) panel.show(panel.shown);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
/** Return the pipeline that the page's address names; empty: none. */
function addressed() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // not an address that this page makes
  }
}

addEventListener("hashchange", () => {
  if (addressed()) panel.open(addressed());
});
if (addressed()) panel.open(addressed());
else round();
