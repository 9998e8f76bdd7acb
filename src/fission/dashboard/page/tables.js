// Tables that are refreshed in place: cells keep their elements, so that a selection or the focus stays.

export class TableView {
  /** @param {HTMLTableElement} table @param {string} caption @param {[string, (row: any, key: string) => string][]} columns
   * @param {((key: string) => void) | null} chosen called when the user chooses a row */
  constructor(table, caption, columns, chosen = null) {
    this.columns = columns;
    this.chosen = chosen;
    const head = table.createTHead().insertRow();
    for (const [heading] of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = heading;
      head.append(cell);
    }
    const title = table.createCaption();
    title.textContent = caption;
    title.className = "hidden";
    this.body = table.createTBody();
    /** @type {Map<string, HTMLTableRowElement>} */
    this.rows = new Map();
  }

  /** @param {Record<string, any>} values row by key */
  show(values) {
    for (const [key, row] of this.rows) {
      if (key in values) continue;
      row.remove();
      this.rows.delete(key);
    }
    for (const [index, [key, value]] of Object.entries(values).entries()) {
      const row = this.rows.get(key) ?? this.add(key);
      if (this.body.rows[index] !== row) this.body.insertBefore(row, this.body.rows[index]);
      this.columns.forEach(([, text], index) => {
        const place = row.cells[index].firstElementChild ?? row.cells[index];
        const fresh = text(value, key);
        if (place.textContent !== fresh) place.textContent = fresh;
      });
    }
  }

  /** @param {string} key */
  add(key) {
    const row = this.body.insertRow();
    this.columns.forEach((_, index) => {
      const cell = index ? row.insertCell() : row.appendChild(document.createElement("th"));
      if (index) return;
      cell.setAttribute("scope", "row");
      if (!this.chosen) return;
      const button = document.createElement("button");
      button.type = "button";
      button.addEventListener("click", () => this.chosen?.(key));
      cell.append(button);
    });
    this.rows.set(key, row);
    return row;
  }
}
