// What the page knows, and how it changes: no access to the document of the browser, so that Node.js can test it.

/** Apply a JSON Merge Patch (RFC 7396).
 * @param {any} target the present value
 * @param {any} patch what the server has sent
 * @returns {any} the new value; objects of `target` that do not change are kept
 */
export function merged(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const found = target !== null && typeof target === "object" && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete found[key];
    else found[key] = merged(found[key], value);
  }
  return found;
}

/** The present state of a job in one word: what colours it.
 * @param {any} job row of the document
 * @returns {"starting" | "running" | "lost" | "failed" | "finished"}
 */
export function condition(job) {
  if (job.state === "running") return "running";
  if (job.state === "failed") return "failed";
  if (["finished", "ended", "stopped"].includes(job.state)) return "finished";
  return job.restarts ? "lost" : "starting";
}

/** @param {number | undefined | null} value blocks per second */
export function rate(value) {
  if (value === undefined || value === null) return "-";
  if (value >= 10000) return `${(value / 1000).toFixed(0)} k/s`;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} /s`;
}

/** @param {number | undefined | null} value bytes */
export function bytes(value) {
  if (value === undefined || value === null) return "-";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  while (value >= 1024 && step < units.length - 1) [value, step] = [value / 1024, step + 1];
  return `${value >= 100 || step === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[step]}`;
}

/** @param {number | undefined | null} value seconds */
export function duration(value) {
  if (value === undefined || value === null) return "-";
  return value < 0.001 ? `${(value * 1e6).toFixed(0)} us` : value < 1 ? `${(value * 1e3).toFixed(1)} ms` : `${value.toFixed(2)} s`;
}

/**
 * How far a clock is ahead: "-0.2 ms +/- 3.0 ms".
 * @param {number | undefined | null} value seconds
 * @param {number | undefined | null} error seconds
 */
export function offset(value, error) {
  if (value === undefined || value === null) return "-";
  return `${value < 0 ? "-" : ""}${duration(Math.abs(value))} +/- ${duration(error)}`;
}

/** @param {number | undefined | null} value between 0 and 1 */
export function share(value) {
  return value === undefined || value === null ? "-" : `${(100 * value).toFixed(0)} %`;
}

/** What is said of the recording of a pipe.
 * @param {any} recording member of the document; undefined: there is none */
export function recorded(recording) {
  if (!recording) return "";
  const missed = recording.missed ? `, ${recording.missed} missed` : "";
  const facts = `${recording.blocks} blocks, ${bytes(recording.bytes)}${missed}, in ${recording.file}`;
  return recording.running ? `Recording: ${facts}; started by ${recording.by}` : `Recorded ${facts}; ended: ${recording.reason}`;
}

/** The values of the last minutes, one series for each name. */
export class History {
  /** @param {number} seconds how far back it reaches */
  constructor(seconds) {
    this.seconds = seconds;
    /** @type {Map<string, {times: number[], series: Record<string, (number | null)[]>}>} */
    this.rows = new Map();
  }

  /** @param {string} key of what is measured @param {number} now seconds @param {Record<string, number | null>} values */
  add(key, now, values) {
    let row = this.rows.get(key);
    const last = row?.times[row.times.length - 1] ?? now;
    if (!row || last > now) row = { times: [], series: {} }; // the clock was set back: what came before would lie in the future
    this.rows.set(key, row);
    row.times.push(now);
    for (const name of Object.keys(values)) row.series[name] ??= Array(row.times.length - 1).fill(null);
    for (const [name, series] of Object.entries(row.series)) series.push(values[name] ?? null);
    let old = 0;
    while (row.times[old] < now - this.seconds) old += 1;
    if (old) {
      row.times.splice(0, old);
      for (const values of Object.values(row.series)) values.splice(0, old);
    }
  }

  /** Put what was before in front of what is known.
   * @param {string} key @param {number[]} times seconds, rising @param {Record<string, (number | null)[]>} series of the same length */
  precede(key, times, series) {
    const row = this.rows.get(key) ?? { times: [], series: {} };
    const first = (row.times[0] ?? Infinity) - 1; // points are further apart; the same ones would come again a moment earlier or later
    const count = times.filter((time) => time < first).length;
    if (!count) return;
    const length = row.times.length;
    for (const name of new Set([...Object.keys(series), ...Object.keys(row.series)])) {
      const before = series[name]?.slice(0, count) ?? Array(count).fill(null);
      row.series[name] = [...before, ...(row.series[name] ?? Array(length).fill(null))];
    }
    row.times = [...times.slice(0, count), ...row.times];
    this.rows.set(key, row);
  }

  /** @param {string} key @param {string[]} names @returns {(number | null)[][]} times, then each series */
  data(key, names) {
    const row = this.rows.get(key) ?? { times: [], series: {} };
    return [row.times, ...names.map((name) => row.series[name] ?? [])];
  }
}

/** What a layout depends on: it is only computed again when this changes.
 * @param {any} state the document
 */
export function structure(state) {
  const jobs = Object.entries(state.jobs ?? {}).map(([id, job]) => [id, job.name, job.local ? "" : (job.node ?? "")]);
  const pipes = Object.entries(state.pipes ?? {}).map(([id, pipe]) => [id, pipe.source, pipe.target]);
  return JSON.stringify([jobs, pipes]);
}

/** One line for an event of the run; null: it is shown elsewhere.
 * @param {any} event as the server sends it
 */
export function line(event) {
  switch (event.event) {
    case "ShowOutput":
      return { source: event.job, text: event.line, level: event.stream === "stderr" ? "error" : "output" };
    case "ShowPlacement":
      return { source: event.job, text: `starts on ${event.node}`, level: "notice" };
    case "ShowEnd":
      return { source: event.job, text: event.outcome, level: "notice" };
    case "ShowFailure":
      return { source: event.job, text: event.report, level: "error" };
    case "ShowText":
      return { source: "", text: event.text, level: event.kind };
    case "ShowSummary":
      return { source: "", text: event.lines.join("\n"), level: "notice" };
    default:
      return null;
  }
}

/** Whether an event belongs to a job: by its id, or because its text names the job.
 * @param {any} event as the server sends it @param {{id: string, name: string}} job
 */
export function concerns(event, job) {
  if (event.job_id !== undefined) return String(event.job_id) === job.id;
  if (event.event !== "ShowText" || event.kind !== "failover" || !job.name) return false;
  const name = job.name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(^|[^\\w])${name}(?!\\w)`, "u").test(event.text);
}
