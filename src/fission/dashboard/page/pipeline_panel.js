// The panel of one pipeline: its facts, graph and jobs, and what an operator can do with it.

import { duration } from "./model.js";
import { MOST_DRAWN, PipelineGraph, summary } from "./pipeline_graph.js";
import { TableView } from "./tables.js";

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

/** @param {number | null | undefined} seconds since the epoch */
export function moment(seconds) {
  return seconds === null || seconds === undefined ? "-" : new Date(seconds * 1000).toLocaleString();
}

/** Fill a list of facts. @param {HTMLElement} place @param {[string, string][]} facts */
export function facts(place, facts) {
  place.replaceChildren(
    ...facts.flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, description.textContent] = [name, value || "-"];
      return [term, description];
    }),
  );
}

/** Show a text of a user, unless it is empty; one that does not change keeps what is selected in it.
 * @param {string} id of its element @param {string} text */
function fill(id, text) {
  at(`${id}-part`).hidden = !text;
  if (at(id).textContent !== text) at(id).textContent = text;
}

export class PipelinePanel {
  /** @param {() => void} changed called when the panel wants fresh values @param {() => void} closed called when it is closed
   * @param {(action: string, id: string) => Promise<string>} act asks the server; returns an error's text, or nothing */
  constructor(changed, closed, act) {
    this.id = "";
    this.operator = false;
    /** @type {any} */
    this.shown = null;
    /** @type {number | null} */
    this.job = null;
    this.asked = false;
    this.changed = changed;
    this.act = act;
    this.graph = new PipelineGraph(at("graph"), (job) => this.chooseJob(job));
    this.jobs = new TableView(
      at("jobs"),
      "Jobs",
      [
        ["Job", (job) => `${job.job} ${job.worker}`],
        ["State", (job) => job.state],
        ["Tries", (job) => String(job.tries)],
        ["Duration", (job) => duration(job.duration)],
        ["Ran on", (job) => job.node || "-"],
        ["Tag", (job) => job.tag || "-"],
        ["Error", (job) => job.error || "-"],
      ],
      (key) => this.chooseJob(Number(key)),
    );
    at("close").addEventListener("click", () => {
      this.close();
      closed();
    });
    at("job-close").addEventListener("click", () => {
      const job = this.job;
      this.job = null;
      at("job").hidden = true;
      this.graph.boxes.get(job ?? -1)?.focus();
    });
    at("retry").addEventListener("click", () => this.perform("retry"));
    at("cancel").addEventListener("click", () => {
      if (this.asked) this.perform("cancel");
      else this.ask(true);
    });
    at("cancel").addEventListener("blur", () => this.ask(false));
    for (const state of ["waiting", "running", "finished", "failed", "skipped", "cancelled"]) {
      const item = document.createElement("li");
      item.className = state;
      item.textContent = state;
      at("legend").append(item);
    }
  }

  /** @param {string} id */
  open(id) {
    this.close();
    this.id = id;
    at("pipeline").hidden = false;
    at("pipeline-title").textContent = `Pipeline ${id}`;
    at("pipeline-title").focus();
    this.changed();
  }

  close() {
    this.id = "";
    this.shown = null;
    this.job = null;
    for (const id of ["pipeline", "act", "job", "retry", "cancel", "omitted"]) at(id).hidden = true;
    this.graph.show("", []);
    this.jobs.show({});
    at("pipeline-facts").replaceChildren();
  }

  /** @param {any} found as the server sends it, or an error */
  show(found) {
    if (found.error !== undefined && !found.jobs) {
      this.say(found.error);
      return;
    }
    this.shown = found;
    at("pipeline-title").textContent = `Pipeline ${found.id}: ${found.state}`;
    facts(at("pipeline-facts"), [
      ["Accepted", moment(found.accepted)],
      ["Ended", moment(found.ended)],
      ["Duration", duration(found.duration)],
      ["Priority", String(found.priority)],
      ["Failed first", found.error],
      ["Waits for", found.waits_for.join("; ")],
    ]);
    for (const [id, text] of [["data", found.data], ["results", found.results]]) fill(id, text);
    const isDrawn = !found.omitted && found.jobs.length <= MOST_DRAWN;
    this.graph.show(found.id, isDrawn ? found.jobs : []);
    at("omitted").hidden = isDrawn;
    const left = found.omitted ? ` ${found.omitted} jobs that did not run or that finished are not listed.` : "";
    at("omitted").textContent = `The graph is not drawn: it has more than ${MOST_DRAWN} jobs.${left}`;
    this.jobs.show(Object.fromEntries(found.jobs.map((/** @type {any} */ job) => [String(job.job), job])));
    this.showJob();
    this.offer("retry", ["failed", "cancelled"].includes(found.state));
    this.offer("cancel", ["waiting", "running"].includes(found.state));
  }

  /** Show a button if it can be used; the focus goes to the title if it was on a button that goes.
   * @param {string} button @param {boolean} usable */
  offer(button, usable) {
    const hides = !(usable && this.operator);
    if (hides && document.activeElement === at(button)) at("pipeline-title").focus();
    at(button).hidden = hides;
  }

  /** @param {number} job */
  chooseJob(job) {
    this.job = job;
    this.showJob();
    at("job-title").focus();
  }

  showJob() {
    const job = this.shown?.jobs.find((/** @type {any} */ job) => job.job === this.job);
    at("job").hidden = !job;
    if (!job) return;
    at("job-title").textContent = `Job ${job.job}: ${job.worker}`;
    facts(at("job-facts"), [
      ["State", summary(job)],
      ["Tries", String(job.tries)],
      ["Last took", duration(job.duration)],
      ["Last ran on", job.node],
      ["After", job.after.map((/** @type {number} */ before) => String(before)).join(", ")],
      ["Tag", job.tag],
      ["Error", job.error],
    ]);
    const place = at("job-traceback");
    place.hidden = !job.traceback;
    if (place.textContent !== job.traceback) place.textContent = job.traceback;
  }

  /** @param {boolean} asked */
  ask(asked) {
    this.asked = asked;
    at("cancel").textContent = asked ? "Really cancel it?" : "Cancel it";
  }

  /** @param {string} action */
  async perform(action) {
    this.ask(false);
    const id = this.id;
    const error = await this.act(action, id);
    if (id !== this.id) return;
    this.say(error);
    this.changed();
  }

  /** @param {string} text */
  say(text) {
    at("act").hidden = !text;
    at("act").textContent = text;
  }
}
