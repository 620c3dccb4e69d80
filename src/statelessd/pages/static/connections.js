// @ts-check
/** The table of connections: sorted, filtered, and only the rows that can be seen. */

import { find, set, write } from "./dom.js";
import { count, moment, rate } from "./format.js";
import { Rows } from "./tables.js";

/** @typedef {import("./documents.js").Connection} Connection */
/** @typedef {import("./documents.js").Details} Details */

/**
 * @param {keyof Connection} sort
 * @param {string} title
 * @param {(it: Connection, now: number) => string} text
 * @param {Partial<import("./tables.js").Column<Connection>>} [more]
 */
const column = (sort, title, text, more) => ({ title, text, sort, ...more });
const NUMBER = { className: "number" };
const STATE = { className: "state", state: (/** @type {Connection} */ it) => it.state };

/** @type {import("./tables.js").Column<Connection>[]} */
const CONNECTION = [
  column("virtual_host", "Virtual host", (it) => it.virtual_host, { header: true, width: "w-long" }),
  column("user", "User", (it) => it.user, { className: "long", width: "w-long" }),
  column("backend", "Backend", (it) => it.backend, { width: "w-backend" }),
  column("state", "State", (it) => it.state, { ...STATE, width: "w-name" }),
  column("since", "Since", (it, now) => moment(it.since, now), { width: "w-name" }),
  column("publishes", "Published", (it) => count(it.publishes), { ...NUMBER, width: "w-count" }),
  column("rate", "Per second", (it) => rate(it.rate), NUMBER),
  column("in_flight", "In flight", (it) => count(it.in_flight), NUMBER),
  column("queue_size", "Queued", (it) => count(it.queue_size), NUMBER),
  column("channels", "Channels", (it) => count(it.channels), NUMBER),
  column("reconnects", "Reconnects", (it) => count(it.reconnects), { ...NUMBER, width: "w-name" }),
  column("last_error", "Last error", (it) => it.last_error, { className: "long", width: "w-error" }),
];
const SEARCHED = /** @type {const} */ (["virtual_host", "user", "state", "backend", "last_error"]);
const SPARE = 8; // rows above and below what is to be seen
const MEASURED = 20; // rows
const COLLATOR = new Intl.Collator("en", { numeric: true });

export class Connections {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.view = find(section, ".scroll");
    this.table = /** @type {HTMLTableElement} */ (find(section, "table"));
    const [above, , below] = this.table.tBodies;
    this.spaces = { above, below };
    this.rows = new Rows(section, CONNECTION, (it) => ({
      "data-key": `${it.backend} ${it.virtual_host}:${it.user}`,
    }));
    this.filter = /** @type {HTMLInputElement} */ (find(section, "#filter"));
    this.counter = find(section, "#connections-count");
    this.rowHeight = 0;
    this.sort = { by: /** @type {keyof Connection} */ ("publishes"), ascending: false };
    /** @type {Connection[]} */
    this.all = [];
    /** @type {Connection[]} */
    this.found = [];
    this.leftOut = 0;
    this.now = 0;

    let asked = false;
    const soon = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        this.draw();
      });
    };
    this.view.addEventListener("scroll", soon, { passive: true });
    new ResizeObserver(() => {
      this.rowHeight = 0;
      soon();
    }).observe(this.view);
    this.filter.addEventListener("input", () => {
      this.arrange();
      this.view.scrollTop = 0;
      this.draw();
    });
    this.filter.disabled = false;
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (
      section.querySelectorAll("[data-sort]")
    )) {
      button.addEventListener("click", () =>
        this.sortBy(/** @type {keyof Connection} */ (button.dataset.sort)),
      );
    }
    this.markSorted();
  }

  /** @param {Details} details */
  show({ connections, left_out, time }) {
    this.all = connections;
    this.leftOut = left_out;
    this.now = time;
    this.arrange();
    this.draw();
  }

  /** @param {keyof Connection} by */
  sortBy(by) {
    const same = this.sort.by === by;
    const text = this.all.length > 0 && typeof this.all[0][by] === "string";
    this.sort = { by, ascending: same ? !this.sort.ascending : text };
    this.markSorted();
    this.arrange();
    this.draw();
  }

  markSorted() {
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (
      this.table.querySelectorAll("[data-sort]")
    )) {
      const header = /** @type {HTMLElement} */ (button.closest("th"));
      if (button.dataset.sort !== this.sort.by) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", this.sort.ascending ? "ascending" : "descending");
    }
  }

  arrange() {
    const wanted = this.filter.value.trim().toLowerCase();
    const { by, ascending } = this.sort;
    const sign = ascending ? 1 : -1;
    this.found = this.all
      .filter((it) => !wanted || SEARCHED.some((name) => it[name].toLowerCase().includes(wanted)))
      .sort((a, b) => sign * compare(a[by], b[by]) || inOrder(a, b));
    const total = `${count(this.all.length)} ${this.all.length === 1 ? "connection" : "connections"}`;
    const shown = wanted ? `${count(this.found.length)} of ${total}` : total;
    write(
      this.counter,
      this.leftOut ? `${shown}, and ${count(this.leftOut)} more not listed` : shown,
    );
  }

  draw() {
    if (!this.rowHeight) {
      // A long name makes its row higher. With the lowest one, too many rows are drawn, not too few.
      this.rows.show(this.found.slice(0, MEASURED), this.now);
      const heights = Array.from(this.rows.body.rows, (row) => row.getBoundingClientRect().height);
      this.rowHeight = heights.length ? Math.min(...heights) : 0;
      if (!this.rowHeight) return this.space(0, 0);
    }
    const seen = Math.ceil(this.view.clientHeight / this.rowHeight) + 2 * SPARE;
    const top = Math.floor(this.view.scrollTop / this.rowHeight) - SPARE;
    const first = Math.max(0, Math.min(top, this.found.length - seen));
    const window = this.found.slice(first, first + seen);
    this.rows.show(window, this.now);
    this.space(first, this.found.length - first - window.length);
    set(this.table, "aria-rowcount", String(this.found.length + 1));
    window.forEach((_, i) => set(this.rows.body.rows[i], "aria-rowindex", String(first + i + 2)));
  }

  /** @param {number} above @param {number} below how many rows are not there */
  space(above, below) {
    for (const [body, rows] of /** @type {const} */ ([
      [this.spaces.above, above],
      [this.spaces.below, below],
    ])) {
      body.hidden = rows === 0;
      body.rows[0].style.height = `${rows * this.rowHeight}px`;
    }
  }
}

/**
 * Compare two that are equal in the column that is sorted by, so that their order is stable.
 * @param {Connection} a
 * @param {Connection} b
 */
function inOrder(a, b) {
  for (const name of /** @type {const} */ (["virtual_host", "user", "backend"])) {
    if (a[name] !== b[name]) return a[name] < b[name] ? -1 : 1;
  }
  return 0;
}

/** @param {string | number} a @param {string | number} b */
function compare(a, b) {
  return typeof a === "number" && typeof b === "number"
    ? a - b
    : COLLATOR.compare(String(a), String(b));
}
