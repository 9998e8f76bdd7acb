// What the pictures of graphs are made of.

const SVG = "http://www.w3.org/2000/svg";
/** Smallest scale of a picture. */
const SMALLEST = 0.6;
/** Letters of a name that are tried: more never fit, and each is measured. */
export const MOST_LETTERS = 60;
/** Value of marker-end for an arrow. */
export const tip = "url(#tip)";

/** @param {string} name @param {Record<string, string | number>} attributes @param {...(Node | string)} children */
export function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** Let an element of the picture act as a button, by mouse and keyboard.
 * @param {SVGElement} button @param {() => void} act */
export function acts(button, act) {
  button.addEventListener("click", act);
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  });
}

/** Shorten the texts of a picture that are wider than their boxes; it must be in the document.
 * @param {ParentNode} place @param {string} texts selector @param {number} width of a box */
export function shortened(place, texts, width) {
  for (const found of place.querySelectorAll(texts)) {
    const text = /** @type {SVGTextElement} */ (found);
    const whole = [...(text.textContent ?? "")];
    for (let kept = whole.length - 1; kept > 0 && text.getComputedTextLength() > width; kept -= 1) {
      text.textContent = `${whole.slice(0, kept).join("")}…`;
    }
  }
}

/** The name for screen readers of a box with two texts: it has what is seen, and the whole name where that is shortened.
 * @param {Element} box @param {string} whole name @param {string} more what else is said */
export function spoken(box, whole, more) {
  const seen = box.querySelector(".first")?.textContent ?? whole;
  return `${seen} ${box.querySelector(".second")?.textContent ?? ""}${more}${seen === whole ? "" : `: ${whole}`}`;
}

/** A picture as wide as there is room for, but never so small that it cannot be read: then it scrolls.
 * @param {number} width @param {number} height */
export function fitted(width, height) {
  const marker = element("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto" });
  marker.append(element("path", { d: "M0 0L8 4L0 8z", class: "tip" }));
  const picture = element("svg", { viewBox: `0 0 ${width} ${height}` });
  picture.style.width = "100%";
  picture.style.minWidth = `${Math.round(SMALLEST * width)}px`;
  picture.style.maxWidth = `${Math.round(width)}px`;
  picture.append(element("defs", {}, marker));
  return picture;
}
