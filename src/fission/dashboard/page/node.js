// The panel of a node: what would happen if it were lost now.

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

export class NodePanel {
  constructor() {
    this.node = "";
    at("node-close").addEventListener("click", () => {
      at("node").hidden = true;
    });
    at("node-again").addEventListener("click", () => this.ask());
  }

  /** @param {string} node name */
  open(node) {
    this.node = node;
    at("node").hidden = false;
    at("node-title").textContent = `Node ${node}`;
    at("node-title").focus();
    this.ask();
  }

  async ask() {
    const { node } = this;
    const answer = await fetch(`/loss?${new URLSearchParams({ node })}`).catch(() => null);
    const found = answer?.headers.get("content-type")?.startsWith("application/json") ? await answer.json().catch(() => ({})) : { error: "the page's server does not answer" };
    if (node !== this.node) return; // another one was chosen meanwhile
    at("node-loss").replaceChildren(...(found.error || !found.jobs ? [paragraph(found.error ?? "the page's server does not answer")] : [this.verdict(found.jobs), list(found.jobs)]));
  }

  /** @param {{job: string, node?: string}[]} jobs */
  verdict(jobs) {
    const left = jobs.filter((job) => !job.node).length;
    if (!jobs.length) return paragraph("No job runs there: nothing would move.");
    return paragraph(left ? `${left} of ${jobs.length} jobs would have no place.` : "Every job would have a place.");
  }
}

/** @param {string} text */
function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}

/** @param {{job: string, node?: string, reason: string}[]} jobs */
function list(jobs) {
  const made = document.createElement("ul");
  for (const { job, node, reason } of jobs) {
    const item = document.createElement("li");
    item.textContent = node ? `${job} to node ${node} (${reason})` : reason;
    made.append(item);
  }
  return made;
}
