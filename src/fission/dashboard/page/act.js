// What an operator can do: the buttons and forms that act, and the requests that they send.

import { recorded } from "./model.js";

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

/** Let a button ask once more before it acts.
 * @param {HTMLButtonElement} button @param {string} question its text meanwhile @param {() => void} act */
export function confirmed(button, question, act) {
  const text = button.textContent;
  let asked = false;
  button.addEventListener("click", () => {
    asked = !asked;
    button.textContent = asked ? question : text;
    if (!asked) act();
  });
  button.addEventListener("blur", () => {
    asked = false;
    button.textContent = text;
  });
}

export class Operator {
  constructor() {
    this.form = "";
    /** Whether this visitor may act. */
    this.mayAct = false;
  }

  /** @param {{role: string, form: string}} visitor of the page's server */
  is(visitor) {
    this.form = visitor.form;
    this.mayAct = visitor.role === "operator";
  }

  /** Return why it could not be done; empty: it is done.
   * @param {string} path @param {any} body
   * @returns {Promise<string>} */
  async post(path, body = null) {
    const headers = { "x-fission-form": this.form, "content-type": "application/json" };
    const answer = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) }).catch(() => null);
    if (answer?.ok) return "";
    const text = (await answer?.text().catch(() => "")) || "the page's server does not answer";
    return text.startsWith("{") ? JSON.parse(text).error : text;
  }
}

/** The form for the lines of a job that reads a console. */
export class ConsoleForm {
  /** @param {Operator} operator */
  constructor(operator) {
    this.operator = operator;
    this.job = "";
    at("console").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.send({ line: at("console-line").value }, "sent");
    });
    confirmed(at("console-end"), "Really end it?", () => this.send({ end: true }, "ended"));
  }

  /** @param {string} job id @param {any} row of the document */
  show(job, row) {
    if (job !== this.job) {
      this.job = job;
      at("console-line").value = at("console-state").textContent = "";
    }
    at("console").hidden = !this.operator.mayAct || !row.takes_lines || row.state !== "running";
  }

  /** @param {{line?: string, end?: boolean}} what @param {string} done what is said then */
  async send(what, done) {
    const { job } = this;
    at("console-state").textContent = "...";
    const why = await this.operator.post("/console", { job: Number(job), ...what });
    if (job !== this.job) return; // another one was chosen meanwhile
    at("console-state").textContent = why || done;
    if (!why) at("console-line").value = "";
  }
}

/** The button that records the pipe which is looked into. */
export class RecordButton {
  /** @param {Operator} operator */
  constructor(operator) {
    this.operator = operator;
    this.pipe = "";
    this.running = false;
    at("record").addEventListener("click", () => this.toggle());
  }

  /** @param {string} pipe id @param {any} recording of it, if there is one @param {boolean} up whether the network runs */
  show(pipe, recording, up) {
    if (pipe !== this.pipe) at("record-error").textContent = "";
    this.pipe = pipe;
    this.running = !!recording?.running;
    at("record").hidden = !this.operator.mayAct || !(up || this.running);
    at("record").textContent = this.running ? "Stop recording" : "Record";
    at("record").setAttribute("aria-pressed", String(this.running));
    const text = recorded(recording);
    if (at("record-state").textContent !== text) at("record-state").textContent = text;
  }

  async toggle() {
    at("record").disabled = true;
    at("record-error").textContent = await this.operator.post("/record", { pipe: Number(this.pipe), on: !this.running });
    at("record").disabled = false;
  }
}
