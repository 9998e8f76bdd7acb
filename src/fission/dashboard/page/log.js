// Lines of the run's log, as elements: for the page's log, and for the panel of a job.

import { line } from "./model.js";

const MOST_LINES = 500;

/** Append the lines of events to a place, which stays at its end if it was there.
 * @param {HTMLElement} place @param {any[]} events as the server sends them */
export function append(place, events) {
  const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
  for (const event of events) {
    const found = line(event);
    if (!found) continue;
    const row = document.createElement("p");
    row.className = found.level;
    const time = document.createElement("time");
    time.textContent = new Date(event.at * 1000).toLocaleTimeString();
    const source = document.createElement("b");
    source.textContent = found.source;
    row.append(time, " ", source, " ", found.text);
    place.append(row);
  }
  while (place.childElementCount > MOST_LINES) place.firstElementChild?.remove();
  if (atEnd) place.scrollTop = place.scrollHeight;
}
