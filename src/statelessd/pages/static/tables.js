// @ts-check
/** Tables whose rows are changed only where something is different. */

import { child, find, set, write } from "./dom.js";
import { bytes, cores, count, duration, moment, NONE, rate, seconds } from "./format.js";
import { sum } from "./history.js";

/** @typedef {import("./documents.js").Backend} Backend */
/** @typedef {import("./documents.js").Failure} Failure */

/**
 * @template T
 * @typedef {object} Column
 * @property {string} title
 * @property {(item: T, now: number) => string} text
 * @property {string} [className]
 * @property {string} [width] A class of the header, for the style sheet.
 * @property {boolean} [header] Whether it names its row.
 * @property {(item: T) => string} [state] For the style sheet.
 * @property {string} [sort] The member that the rows can be sorted by.
 */

/**
 * The rows of a table, for as many items as there are. The nth row is used again
 * for whatever comes nth.
 * @template T
 */
export class Rows {
  /**
   * @param {HTMLElement} section that has the table
   * @param {Column<T>[]} columns
   * @param {(item: T) => Record<string, string>} attributes
   */
  constructor(section, columns, attributes) {
    const table = /** @type {HTMLTableElement} */ (find(section, "table"));
    this.body = /** @type {HTMLTableSectionElement} */ (find(table, "tbody:not(.space)"));
    this.columns = columns;
    this.attributes = attributes;
    const row = table.createTHead().insertRow();
    for (const { title, className = "", width = "", sort } of columns) {
      const number = className.includes("number") ? "number" : "";
      const cell = child(row, "th", `${number} ${width}`.trim());
      cell.setAttribute("scope", "col");
      const inner = sort ? child(cell, "button", "") : cell;
      if (sort) {
        inner.setAttribute("type", "button");
        inner.dataset.sort = sort;
      }
      write(inner, title);
    }
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
    for (const { title, className, header } of this.columns) {
      const cell = document.createElement(header ? "th" : "td");
      cell.dataset.title = title; // where there is no room for columns
      if (header) cell.setAttribute("scope", "row");
      if (className) cell.className = className;
      cell.append("");
      row.append(cell);
    }
    return row;
  }
}

/** @param {Backend} it */
const stateOf = (it) => (!it.up ? "down" : it.draining ? "draining" : "up");
const STATES = { down: "not running", draining: "draining", up: "up" };

/** @type {Column<Backend>[]} */
const BACKEND = [
  { title: "Backend", text: (it) => it.backend, header: true },
  { title: "State", text: (it) => STATES[stateOf(it)], className: "state", state: stateOf },
  {
    title: "Broker",
    text: (it) => (it.up && it.broker?.state) || NONE,
    className: "state",
    state: (it) => (it.up && it.broker?.state) || "",
  },
  quantity("Process", (it) => it.pid, String),
  quantity("Up for", (it) => it.started, (started, now) => duration(now - started)),
  quantity("CPU, one core", (it) => it.cpu, cores),
  quantity("Memory", (it) => it.memory, bytes),
  quantity("Event-loop lag", (it) => it.lag, seconds),
  quantity("Clients", (it) => it.client_connections, count),
  quantity("Broker connections", (it) => it.broker_connections, count),
  quantity("Published", (it) => it.published, count),
];

/**
 * @param {string} title
 * @param {(it: Backend) => number | undefined} of
 * @param {(value: number, now: number) => string} format
 * @returns {Column<Backend>}
 */
function quantity(title, of, format) {
  return {
    title,
    text: (it, now) => (it.up ? format(of(it) ?? 0, now) : NONE),
    className: "number",
  };
}

/** @param {HTMLElement} section */
export function backends(section) {
  return new Rows(section, BACKEND, (it) => ({ "data-backend": it.backend }));
}

/** @typedef {{name: string, published: number, invalid: number, failed: number, inFlight: number}} Webhook */

/** @type {Column<Webhook>[]} */
const WEBHOOK = [
  { title: "Endpoint", text: (it) => it.name, header: true },
  { title: "Published", text: (it) => count(it.published), className: "number" },
  { title: "Signature invalid", text: (it) => count(it.invalid), className: "number" },
  { title: "Other failures", text: (it) => count(it.failed), className: "number" },
  { title: "In flight", text: (it) => count(it.inFlight), className: "number" },
];

/** @param {HTMLElement} section */
export function webhooks(section) {
  return new Rows(section, WEBHOOK, (it) => ({ "data-webhook": it.name }));
}

/** The webhook endpoints of these backends together. @param {Backend[]} all @returns {Webhook[]} */
export function webhooksOf(all) {
  const names = new Set(all.flatMap((each) => Object.keys(each.webhooks_published ?? {})));
  /** @param {(it: Backend) => Record<string, number> | undefined} of @param {string} name */
  const total = (of, name) => sum(all.map((each) => of(each)?.[name] ?? 0));
  return Array.from(names, (name) => ({
    name,
    published: total((it) => it.webhooks_published, name),
    invalid: total((it) => it.webhooks_invalid, name),
    failed: total((it) => it.webhooks_failed, name),
    inFlight: total((it) => it.webhooks_in_flight, name),
  }));
}

/** @type {Column<Failure>[]} */
const FAILURE = [
  { title: "Time", text: (it, now) => moment(it.time, now), className: "time", width: "w-time" },
  { title: "Backend", text: (it) => it.backend, width: "w-few" },
  { title: "Status", text: (it) => String(it.status), className: "number", width: "w-few" },
  { title: "Type", text: (it) => it.type, width: "w-type" },
  { title: "Outcome", text: (it) => it.outcome, width: "w-outcome" },
  { title: "Reason", text: (it) => it.detail || NONE, className: "long", width: "w-detail" },
  {
    title: "Virtual host → exchange",
    text: (it) => [it.virtual_host, it.exchange].filter(Boolean).join(" → ") || NONE,
    className: "long",
    width: "w-path",
  },
  {
    title: "User",
    text: (it) => (it.endpoint ? `${it.user} (webhook ${it.endpoint})` : it.user || NONE),
    className: "long",
  },
  { title: "Request id", text: (it) => it.request_id, className: "code long", width: "w-id" },
];

/** @param {HTMLElement} section */
export function failures(section) {
  return new Rows(section, FAILURE, (it) => ({ "data-request": it.request_id }));
}

/** The rows of all problem types: the server wrote them, the counts are filled in. */
export class Outcomes {
  /** @param {HTMLElement} section */
  constructor(section) {
    const table = /** @type {HTMLTableElement} */ (find(section, "table"));
    this.body = table.tBodies[0];
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
      all ? "Show only those that occurred" : `Show all ${this.rows.length} kinds`,
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
