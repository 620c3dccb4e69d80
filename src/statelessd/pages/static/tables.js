// @ts-check
/** Rows that are written anew only where something changed. */

import { find, set, write } from "./dom.js";
import { bytes, cores, count, duration, moment, NONE, rate, seconds } from "./format.js";

/** @typedef {import("./documents.js").Backend} Backend */
/** @typedef {import("./documents.js").Failure} Failure */

/**
 * @template T
 * @typedef {object} Column
 * @property {(item: T, now: number) => string} text
 * @property {string} [className]
 * @property {boolean} [header] Whether it names its row.
 * @property {(item: T) => string} [state] For the style sheet.
 */

/**
 * The rows of a table body, for as many items as there are. The nth row is used
 * again for whatever comes nth.
 * @template T
 */
export class Rows {
  /**
   * @param {HTMLTableSectionElement} body
   * @param {Column<T>[]} columns
   * @param {(item: T) => Record<string, string>} attributes
   */
  constructor(body, columns, attributes) {
    this.body = body;
    this.columns = columns;
    this.attributes = attributes;
    body.replaceChildren(); // the server's rows, which may be marked up in a way of their own
  }

  /** @param {T[]} items @param {number} now */
  show(items, now) {
    const { body } = this;
    while (body.rows.length > items.length) body.deleteRow(-1);
    while (body.rows.length < items.length) body.append(this.row());
    items.forEach((item, i) => {
      const row = body.rows[i];
      for (const [name, value] of Object.entries(this.attributes(item))) set(row, name, value);
      this.columns.forEach((column, j) => {
        const cell = row.cells[j];
        write(cell, column.text(item, now));
        if (column.state) set(cell, "data-state", column.state(item));
      });
    });
  }

  row() {
    const row = document.createElement("tr");
    for (const { className, header } of this.columns) {
      const cell = document.createElement(header ? "th" : "td");
      if (header) cell.setAttribute("scope", "row");
      if (className) cell.className = className;
      cell.append("");
      row.append(cell);
    }
    return row;
  }
}

/** @type {Column<Backend>[]} */
const BACKEND = [
  { text: (it) => it.backend, header: true },
  {
    text: (it) => (!it.up ? "not running" : it.draining ? "shutting down" : "up"),
    className: "state",
    state: (it) => (!it.up ? "down" : it.draining ? "draining" : "up"),
  },
  {
    text: (it) => (it.up && it.broker?.state) || NONE,
    className: "state",
    state: (it) => (it.up && it.broker?.state) || "",
  },
  { text: (it) => known(it, it.pid, String), className: "number" },
  {
    text: (it, now) => known(it, it.started, (started) => duration(now - started)),
    className: "number",
  },
  { text: (it) => known(it, it.cpu, cores), className: "number" },
  { text: (it) => known(it, it.memory, bytes), className: "number" },
  { text: (it) => known(it, it.lag, seconds), className: "number" },
  { text: (it) => known(it, it.client_connections, count), className: "number" },
  { text: (it) => known(it, it.broker_connections, count), className: "number" },
  { text: (it) => known(it, it.published, count), className: "number" },
];

/**
 * @param {Backend} it
 * @param {number | null | undefined} value
 * @param {(value: number) => string} format
 */
function known(it, value, format) {
  return !it.up || value === null || value === undefined ? NONE : format(value);
}

/** @param {HTMLElement} section */
export function backends(section) {
  return new Rows(body(section), BACKEND, (/** @type {Backend} */ it) => ({
    "data-backend": it.backend,
  }));
}

/** @type {Column<Failure>[]} */
const FAILURE = [
  { text: (it, now) => moment(it.time, now), className: "time" },
  { text: (it) => it.backend },
  { text: (it) => String(it.status), className: "number" },
  { text: (it) => it.type, className: "name" },
  { text: (it) => it.outcome, className: "name" },
  { text: (it) => it.detail || NONE, className: "detail" },
  { text: (it) => [it.virtual_host, it.exchange].filter(Boolean).join(" → ") || NONE },
  { text: (it) => it.user || NONE },
  { text: (it) => it.request_id, className: "code" },
];

/** @param {HTMLElement} section */
export function failures(section) {
  return new Rows(body(section), FAILURE, (/** @type {Failure} */ it) => ({
    "data-request": it.request_id,
  }));
}

/** The rows of all problem types: the server wrote them, the counts are filled in. */
export class Outcomes {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.body = body(section);
    this.rows = Array.from(this.body.rows);
    this.toggle = /** @type {HTMLButtonElement} */ (find(section, "#outcomes-all"));
    this.none = find(section, "#outcomes-none");
    this.occurred = "?";
    this.section = section;
    this.toggle.hidden = false;
    this.toggle.addEventListener("click", () =>
      this.expand(section.classList.contains("occurred-only")),
    );
    this.expand(false);
  }

  /** @param {boolean} all */
  expand(all) {
    this.section.classList.toggle("occurred-only", !all);
    this.toggle.setAttribute("aria-expanded", String(all));
    write(
      this.toggle,
      all ? "Show only what has occurred" : `Show all ${this.rows.length} that can occur`,
    );
  }

  /**
   * @param {Record<string, number>} counts since the start
   * @param {Record<string, number>} rates a second
   */
  show(counts, rates) {
    for (const row of this.rows) {
      const problem = row.dataset.problem ?? "";
      write(find(row, "[data-count]"), count(counts[problem] ?? 0));
      write(find(row, "[data-rate]"), rate(rates[problem] ?? 0));
      row.classList.toggle("occurred", Boolean(counts[problem]));
    }
    const occurred = this.rows.filter(({ dataset }) => counts[dataset.problem ?? ""]);
    const names = occurred.map(({ dataset }) => dataset.problem).join();
    if (names === this.occurred) return;
    this.occurred = names;
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    this.body.append(...occurred, ...this.rows.filter((row) => !occurred.includes(row)));
    if (this.body.contains(focused)) focused.focus({ preventScroll: true }); // a move takes it away
    this.none.hidden = occurred.length > 0;
    this.section.classList.toggle("none-occurred", occurred.length === 0);
  }
}

/** @param {HTMLElement} section */
function body(section) {
  return /** @type {HTMLTableElement} */ (find(section, "table")).tBodies[0];
}
