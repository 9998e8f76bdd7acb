// Draws what passes on a pipe into canvases. What is drawn was computed by the page's server (numpy).

/** @param {string} text base64 @returns {Uint8Array} */
export function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** @param {string} text base64 of little-endian float32 @returns {Float32Array<ArrayBuffer>} */
export function floatsOf(text) {
  const view = new DataView(bytesOf(text).buffer);
  return Float32Array.from({ length: view.byteLength >> 2 }, (_, index) => view.getFloat32(4 * index, true));
}

/** A number in few characters.
 * @param {number} value */
export function short(value) {
  return String(Number(value.toPrecision(4)));
}

/** @param {HTMLCanvasElement} canvas @returns {CanvasRenderingContext2D} of a canvas as large as it is shown */
function sized(canvas) {
  const [width, height] = [Math.max(1, canvas.clientWidth), Math.max(1, canvas.clientHeight)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

const TRACES = ["#6cb6ff", "#ffab5c"];

/** The least and the greatest sample of each column, as lines from one to the other.
 * @param {HTMLCanvasElement} canvas @param {{samples: number, parts: {low: string, high: string}[]}} scope */
export function drawScope(canvas, scope) {
  const context = sized(canvas);
  const { width, height } = canvas;
  const parts = scope.parts.map(({ low, high }) => ({ low: floatsOf(low), high: floatsOf(high) }));
  const least = Math.min(...parts.map(({ low }) => low.reduce((one, other) => Math.min(one, other))));
  const most = Math.max(...parts.map(({ high }) => high.reduce((one, other) => Math.max(one, other))));
  const span = most / 2 - least / 2 || 1;
  const middle = most / 2 + least / 2;
  /** @param {number} value */
  const y = (value) => height / 2 - ((value - middle) / span) * (height / 2 - 6);
  context.clearRect(0, 0, width, height);
  parts.forEach(({ low, high }, index) => {
    context.strokeStyle = TRACES[index];
    context.beginPath();
    low.forEach((value, column) => {
      const x = (width * (column + 0.5)) / low.length;
      context.lineTo(x, y(value));
      context.lineTo(x, y(high[column]));
    });
    context.stroke();
  });
  context.fillStyle = "#c9d1d9";
  context.font = "11px system-ui, sans-serif";
  context.fillText(short(most), 4, 12);
  context.fillText(short(least), 4, height - 4);
  canvas.setAttribute("aria-label", `Newest ${scope.samples} samples, from ${short(least)} to ${short(most)}`);
}

/** Colour of a level, dark to bright: its brightness grows with the level.
 * @param {number} level 0 to 255 @returns {[number, number, number]} */
export function colour(level) {
  const share = level / 255;
  return [255 * Math.min(1, share * share * 1.6), 255 * share ** 1.5, 255 * Math.min(1, 0.08 + 0.9 * Math.sin(Math.PI * share * 0.75))];
}

/** The colours of all levels as pixels of four bytes. */
const PIXELS = new Uint32Array(Uint8Array.from({ length: 1024 }, (_, place) => [...colour(place >> 2), 255][place & 3]).buffer);

/** Columns that are kept; older ones have left the picture. */
const COLUMNS = 512;
/** Decibels from level 0 to level 255, as on the server. */
const RANGE_DB = 90;

/** Levels over time: one column for each spectrum, the newest at the right. */
export class Spectrogram {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {{levels: Uint8Array, top: number}[]} */
    this.columns = [];
    this.top = -Infinity;
    this.clear();
  }

  clear() {
    this.columns = [];
    this.top = -Infinity;
    this.canvas.getContext("2d")?.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** @param {{columns: number, rows: number, top: number, levels: string}} fresh */
  add(fresh) {
    const levels = bytesOf(fresh.levels);
    if (this.columns.length && this.columns[0].levels.length !== fresh.rows) this.clear();
    for (let column = 0; column < fresh.columns; column += 1) {
      this.columns.push({ levels: levels.subarray(column * fresh.rows, (column + 1) * fresh.rows), top: fresh.top });
    }
    this.columns.splice(0, this.columns.length - COLUMNS);
    this.top = fresh.top;
    this.draw(fresh.rows);
  }

  /** @param {number} rows */
  draw(rows) {
    const { canvas } = this;
    if (canvas.width !== COLUMNS || canvas.height !== rows) [canvas.width, canvas.height] = [COLUMNS, rows];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const picture = context.createImageData(COLUMNS, rows);
    const pixels = new Uint32Array(picture.data.buffer);
    const first = COLUMNS - this.columns.length;
    this.columns.forEach(({ levels, top }, index) => {
      const less = ((this.top - top) / RANGE_DB) * 255; // its levels were relative to an earlier maximum
      for (let row = 0; row < rows; row += 1) {
        pixels[(rows - 1 - row) * COLUMNS + first + index] = PIXELS[Math.max(0, levels[row] - less) | 0];
      }
    });
    context.putImageData(picture, 0, 0);
  }
}

/** @param {HTMLCanvasElement} canvas @param {{width: number, height: number, colours: number, pixels: string}} image */
export function drawImage(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const picture = context.createImageData(image.width, image.height);
  const pixels = bytesOf(image.pixels);
  const places = new Uint32Array(picture.data.buffer);
  for (let index = 0; index < image.width * image.height; index += 1) {
    if (image.colours === 1) places[index] = PIXELS[pixels[index]];
    else picture.data.set([...pixels.subarray(3 * index, 3 * index + 3), 255], 4 * index);
  }
  context.putImageData(picture, 0, 0);
}
