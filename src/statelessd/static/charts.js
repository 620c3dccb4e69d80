// @ts-check
/** A line chart of the window, in real pixels, and the crosshair that all charts share. */

import { set, write } from "./dom.js";
import { clock, minute } from "./format.js";
import { axisFor, linePath, nearest, ticks, timeTicks } from "./scale.js";

/** @typedef {import("./documents.js").Series} Series */
/** @typedef {import("./scale.js").Axis} Axis */

/**
 * @typedef {object} Line
 * @property {string} name As in the document.
 * @property {string} label
 * @property {(number | null)[]} values
 * @property {(number | null)[]} [drawn] If not all of the values.
 * @property {number} look Which colour and dash: a class `look-N` of the style sheet.
 *
 * @typedef {object} Specification
 * @property {(series: Series) => Line[]} lines
 * @property {(value: number | null) => string} format With its unit.
 * @property {(value: number, axis: Axis) => string} tick
 * @property {number} least The smallest top of the axis.
 * @property {boolean} [whole] Whether only whole numbers make sense.
 * @property {string} [none] What it says when there is no line.
 */

const SVG = "http://www.w3.org/2000/svg";
const TOP = 8;
const RIGHT = 10;
const REM_LEFT = 4;
const REM_BOTTOM = 1.6;
const REM_TIME_LABEL = 4;
const DESCRIBED_EVERY = 10; // seconds

export class Chart {
  /**
   * @param {HTMLElement} figure
   * @param {Specification} specification
   * @param {Crosshair} crosshair
   */
  constructor(figure, specification, crosshair) {
    this.specification = specification;
    this.title = figure.querySelector(".title")?.textContent?.trim() ?? "";
    this.svg = /** @type {SVGSVGElement} */ (figure.querySelector("svg"));
    this.cursor = /** @type {HTMLElement} */ (figure.querySelector(".cursor"));
    this.message = /** @type {HTMLElement} */ (figure.querySelector(".message"));
    this.readout = new Readout(/** @type {HTMLElement} */ (figure.querySelector("[data-crosshair]")));
    this.grid = element(this.svg, "g", "grid");
    this.plot = element(this.svg, "g", "lines");
    this.hair = element(this.svg, "path", "hair");
    this.points = element(this.svg, "g", "points");
    /** @type {Axis | null} */
    this.axis = null;
    /** @type {Series | null} */
    this.series = null;
    /** @type {Line[]} */
    this.lines = [];
    this.start = 0;
    this.end = 1;
    this.width = 0;
    this.height = 0;
    this.rem = 16;
    this.described = -Infinity;
    new ResizeObserver(() => this.resize()).observe(/** @type {Element} */ (this.svg.parentElement));
    crosshair.join(this);
  }

  resize() {
    const box = /** @type {Element} */ (this.svg.parentElement).getBoundingClientRect();
    this.rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.width = Math.round(box.width);
    this.height = Math.round(box.height);
    set(this.svg, "viewBox", `0 0 ${this.width} ${this.height}`);
    this.draw();
  }

  /** @param {Series} series @param {number} start @param {number} end */
  show(series, start, end) {
    this.series = series;
    this.start = start;
    this.end = end;
    this.lines = this.specification.lines(series);
    this.draw();
    if (end - this.described >= DESCRIBED_EVERY || end < this.described) this.describe();
  }

  get left() {
    return REM_LEFT * this.rem;
  }

  get bottom() {
    return Math.max(TOP, this.height - REM_BOTTOM * this.rem);
  }

  /** @param {number} time */
  x(time) {
    const width = this.width - RIGHT - this.left;
    return this.left + ((time - this.start) / (this.end - this.start)) * width;
  }

  /** @param {number} value */
  y(value) {
    return this.bottom - (value / (this.axis?.top ?? 1)) * (this.bottom - TOP);
  }

  /** The time under a place of the screen. @param {number} clientX */
  timeAt(clientX) {
    const { left } = this.cursor.getBoundingClientRect();
    const width = this.width - RIGHT - this.left;
    const share = (clientX - left - this.left) / width;
    return this.start + Math.min(1, Math.max(0, share)) * (this.end - this.start);
  }

  draw() {
    const { series, specification } = this;
    if (!series || this.width === 0) return;
    const max = Math.max(0, ...this.lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
    this.axis = axisFor(this.axis, max, specification.least, specification.whole);
    this.drawGrid(this.axis);
    const paths = pool(this.plot, "path", this.lines.length);
    this.lines.forEach((line, i) => {
      set(paths[i], "data-series", line.name);
      set(paths[i], "class", `trace look-${line.look}`);
      const d = linePath(series.time, line.drawn ?? line.values, (time) => this.x(time), (value) => this.y(value));
      set(paths[i], "d", d);
    });
    const message = series.time.length === 0 ? "No figures yet" : this.lines.length ? "" : specification.none ?? "";
    write(this.message, message);
  }

  /** @param {Axis} axis */
  drawGrid(axis) {
    const right = this.width - RIGHT;
    const values = ticks(axis);
    const most = Math.max(2, Math.floor((right - this.left) / (REM_TIME_LABEL * this.rem)));
    const offset = -60 * new Date(this.end * 1000).getTimezoneOffset();
    const times = timeTicks(this.start, this.end, most, offset);
    set(pool(this.grid, "path", 1)[0], "d", [
      ...values.map((value) => `M${this.left} ${Math.round(this.y(value)) + 0.5}H${right}`),
      ...times.map((time) => `M${this.x(time).toFixed(1)} ${this.bottom}v5`),
    ].join(""));
    const labels = pool(this.grid, "text", values.length + times.length);
    values.forEach((value, i) => {
      label(labels[i], this.left - 8, this.y(value) + 0.26 * this.rem, "end", this.specification.tick(value, axis));
    });
    times.forEach((time, i) => {
      const place = this.x(time);
      const half = 1.3 * this.rem;
      // A label that would be cut off is left out; its tick stays.
      const fits = place - half >= this.left - 8 && place + half <= this.width;
      label(labels[values.length + i], place, this.height - 0.25 * this.rem, "middle", fits ? minute(time) : "");
    });
  }

  /** The nearest second with data. @param {number} time @returns {number} its index, or -1 */
  indexAt(time) {
    const perPixel = (this.end - this.start) / Math.max(1, this.width - this.left);
    return nearest(this.series?.time ?? [], time, Math.max(1, perPixel));
  }

  /** Shows what was at a time, or, without one, the last second. @param {number | null} time */
  point(time) {
    const { series, lines } = this;
    if (!series || this.width === 0) return;
    const index = time === null ? series.time.length - 1 : this.indexAt(time);
    const valueOf = (/** @type {Line} */ line) => (index < 0 ? null : line.values[index] ?? null);
    const at = time === null ? null : (series.time[index] ?? Math.round(time));
    this.readout.show(at, lines.map((line) => ({ ...line, text: this.specification.format(valueOf(line)) })));

    const shown = at === null ? [] : lines.filter((line) => valueOf(line) !== null);
    set(this.hair, "d", at === null ? "" : `M${this.x(at).toFixed(1)} ${TOP}V${this.bottom}`);
    const circles = pool(this.points, "circle", shown.length);
    shown.forEach((line, i) => {
      set(circles[i], "class", `point look-${line.look}`);
      set(circles[i], "cx", this.x(at ?? 0).toFixed(1));
      set(circles[i], "cy", this.y(valueOf(line) ?? 0).toFixed(1));
      set(circles[i], "r", (0.28 * this.rem).toFixed(1));
    });

    if (document.activeElement === this.cursor || at === null) {
      set(this.cursor, "aria-valuemin", String(Math.round(this.start - this.end)));
      set(this.cursor, "aria-valuenow", String(Math.round((at ?? this.end) - this.end)));
      set(this.cursor, "aria-valuetext", at === null ? "now" : this.readout.text());
    }
  }

  describe() {
    this.described = this.end;
    const parts = this.lines.map(({ label: name, values }) => {
      const known = /** @type {number[]} */ (values.filter((value) => value !== null));
      if (!known.length) return `${name}: nothing`;
      const { format } = this.specification;
      const [low, high] = [Math.min(...known), Math.max(...known)];
      return `${name}: ${format(known[known.length - 1])} last, from ${format(low)} to ${format(high)}`;
    });
    const span = `${clock(this.start)} to ${clock(this.end)}`;
    const what = parts.join("; ") || this.specification.none || "no figures";
    set(this.svg, "aria-label", `${this.title}, ${span}. ${what}.`);
  }
}

/** The line above a chart: a time, and each line's name and value there. */
class Readout {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.time = child(root, "span", "time");
    /** @type {{root: HTMLElement, swatch: Element, label: HTMLElement, value: HTMLElement}[]} */
    this.items = [];
  }

  /** @param {number | null} at @param {{label: string, look: number, text: string}[]} lines */
  show(at, lines) {
    set(this.root, "data-crosshair", at === null ? "" : String(at));
    write(this.time, at === null ? "now" : clock(at));
    while (this.items.length > lines.length) this.items.pop()?.root.remove();
    while (this.items.length < lines.length) this.items.push(this.item());
    lines.forEach((line, i) => {
      set(this.items[i].swatch, "class", `trace look-${line.look}`);
      write(this.items[i].label, line.label);
      write(this.items[i].value, line.text);
    });
  }

  item() {
    const root = child(this.root, "span", "entry");
    const swatch = element(root, "svg", "swatch");
    set(swatch, "viewBox", "0 0 24 8");
    set(swatch, "aria-hidden", "true");
    const line = element(swatch, "path", "trace");
    set(line, "d", "M1 4H23");
    root.append(" ");
    const name = child(root, "span", "name");
    root.append(" ");
    return { root, swatch: line, label: name, value: child(root, "span", "value") };
  }

  text() {
    const values = this.items.map(({ label: { textContent }, value }) => `${textContent} ${value.textContent}`);
    return `${this.time.textContent}: ${values.join(", ") || "no data"}`;
  }
}

/** One instant in all charts, moved by the pointer or with the keys of the focused one. */
export class Crosshair {
  constructor() {
    /** @type {Chart[]} */
    this.charts = [];
    /** Where the pointer rests: the charts move on below it. @type {(() => number) | null} */
    this.pointer = null;
    /** @type {number | null} */
    this.time = null;
  }

  /** @param {Chart} chart */
  join(chart) {
    this.charts.push(chart);
    const { cursor } = chart;
    cursor.addEventListener("pointermove", (event) => {
      this.pointer = () => chart.timeAt(event.clientX);
      this.update();
    });
    for (const leave of ["pointerleave", "pointercancel"]) {
      cursor.addEventListener(leave, () => this.clear());
    }
    cursor.addEventListener("blur", () => this.clear());
    cursor.addEventListener("keydown", (event) => this.key(chart, event));
  }

  /** @param {Chart} chart @param {KeyboardEvent} event */
  key(chart, event) {
    const times = chart.series?.time ?? [];
    if (!times.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = times[times.length - 1];
    const now = this.time === null ? times.length : Math.max(0, chart.indexAt(this.time));
    const step = event.shiftKey ? 10 : 1;
    /** @type {Record<string, number | null>} */
    const targets = {
      ArrowLeft: now - step, ArrowDown: now - step, ArrowRight: now + step, ArrowUp: now + step,
      PageDown: now - 60, PageUp: now + 60, Home: 0, End: times.length - 1, Escape: null,
    };
    if (!(event.key in targets)) return;
    const target = targets[event.key];
    event.preventDefault();
    this.pointer = null;
    this.time = target === null ? null : (times[Math.min(Math.max(0, target), times.length - 1)] ?? last);
    this.update();
  }

  clear() {
    this.pointer = this.time = null;
    this.update();
  }

  /** To be called when the charts have moved. */
  update() {
    if (this.pointer) this.time = this.pointer();
    else if (this.time !== null && this.charts.length) this.time = Math.max(this.time, this.charts[0].start);
    for (const chart of this.charts) chart.point(this.time);
  }
}

/** @param {Element} parent @param {string} name @param {string} [className] */
function element(parent, name, className) {
  const made = document.createElementNS(SVG, name);
  if (className) made.setAttribute("class", className);
  return parent.appendChild(made);
}

/** @param {Element} parent @param {string} name @param {string} className */
function child(parent, name, className) {
  const made = document.createElement(name);
  made.className = className;
  return parent.appendChild(made);
}

/** So many children of a name, made or removed as needed. @param {Element} parent @param {string} name @param {number} wanted */
function pool(parent, name, wanted) {
  const found = Array.from(parent.children).filter(({ tagName }) => tagName === name);
  while (found.length > wanted) found.pop()?.remove();
  while (found.length < wanted) found.push(element(parent, name));
  return found;
}

/** @param {Element} text @param {number} x @param {number} y @param {string} anchor @param {string} words */
function label(text, x, y, anchor, words) {
  set(text, "x", x.toFixed(1));
  set(text, "y", y.toFixed(1));
  set(text, "text-anchor", anchor);
  write(text, words);
}
