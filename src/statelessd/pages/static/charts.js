// @ts-check
/** A chart of the window, with lines or bars, in real pixels. */

import { set, write } from "./dom.js";
import { clock, minute, span } from "./format.js";
import { sum } from "./history.js";
import { Readout } from "./readout.js";
import { axisFor, barPaths, linePath, nearest, ticks, timeTicks } from "./scale.js";
import { element, label, pool } from "./svg.js";

/** @typedef {import("./documents.js").Series} Series */
/** @typedef {import("./scale.js").Axis} Axis */

/**
 * @typedef {object} Line
 * @property {string} name As in the document.
 * @property {string} label
 * @property {(number | null)[]} values
 * @property {number} look Which colour, and dash of a line: a class `look-N` of the style sheet.
 *
 * @typedef {object} Specification
 * @property {(series: Series) => Line[]} lines
 * @property {(value: number | null) => string} format With its unit.
 * @property {(value: number, axis: Axis) => string} tick
 * @property {number} least The smallest top of the axis.
 * @property {boolean} [whole] Whether only whole numbers make sense.
 * @property {number} [bars] Bars upon each other instead of lines, each for so many seconds.
 * @property {string} [none] What it says when there is no line.
 */

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
   * @param {import("./crosshair.js").Crosshair} crosshair
   */
  constructor(figure, specification, crosshair) {
    this.specification = specification;
    this.title = figure.querySelector(".title")?.textContent?.trim() ?? "";
    this.svg = /** @type {SVGSVGElement} */ (figure.querySelector("svg"));
    this.cursor = /** @type {HTMLElement} */ (figure.querySelector(".cursor"));
    this.message = /** @type {HTMLElement} */ (figure.querySelector(".message"));
    this.about = /** @type {HTMLElement} */ (figure.querySelector(".about"));
    this.readout = new Readout(
      /** @type {HTMLElement} */ (figure.querySelector("[data-crosshair]")),
      specification.bars ? "bar" : "trace",
    );
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
    new ResizeObserver(() => this.resize()).observe(
      /** @type {Element} */ (this.svg.parentElement),
    );
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

  /**
   * @param {Series} series
   * @param {number} start
   * @param {number} end
   * @param {string} of whose figures they are
   */
  show(series, start, end, of) {
    this.series = series;
    this.start = start;
    this.end = end;
    this.lines = this.specification.lines(series);
    write(this.about, `${of}, ${span(start, end)}`);
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
    this.axis = axisFor(this.axis, this.highest(), specification.least, specification.whole);
    this.drawGrid(this.axis);
    const paths = pool(this.plot, "path", this.lines.length);
    const drawn = this.drawn(series.time);
    this.lines.forEach((line, i) => {
      set(paths[i], "data-series", line.name);
      set(paths[i], "class", `${specification.bars ? "bar" : "trace"} look-${line.look}`);
      set(paths[i], "d", drawn[i]);
    });
    const message =
      series.time.length === 0
        ? "No figures yet"
        : this.lines.length
          ? ""
          : (specification.none ?? "");
    write(this.message, message);
  }

  /** The highest place that is drawn at. */
  highest() {
    const rows = this.lines.map(({ values }) => values.map((value) => value ?? 0));
    if (!this.specification.bars) return Math.max(0, ...rows.flat());
    return Math.max(0, ...(rows[0] ?? []).map((_, i) => sum(rows.map((values) => values[i]))));
  }

  /** A path for each line. @param {number[]} times @returns {string[]} */
  drawn(times) {
    const { bars } = this.specification;
    const within = (/** @type {number} */ time) => Math.min(Math.max(time, this.start), this.end);
    const y = (/** @type {number} */ value) => this.y(value);
    if (!bars) {
      const x = (/** @type {number} */ time) => this.x(time);
      return this.lines.map(({ values }) => linePath(times, values, x, y));
    }
    const rows = this.lines.map(({ values }) => values.map((value) => value ?? 0));
    return barPaths(times, rows, bars, (time) => this.x(within(time)), y);
  }

  /** @param {Axis} axis */
  drawGrid(axis) {
    const right = this.width - RIGHT;
    const values = ticks(axis);
    const most = Math.max(2, Math.floor((right - this.left) / (REM_TIME_LABEL * this.rem)));
    const offset = -60 * new Date(this.end * 1000).getTimezoneOffset();
    const times = timeTicks(this.start, this.end, most, offset);
    set(
      pool(this.grid, "path", 1)[0],
      "d",
      [
        ...values.map((value) => `M${this.left} ${Math.round(this.y(value)) + 0.5}H${right}`),
        ...times.map((time) => `M${this.x(time).toFixed(1)} ${this.bottom}v5`),
      ].join(""),
    );
    const labels = pool(this.grid, "text", values.length + times.length);
    values.forEach((value, i) => {
      label(
        labels[i],
        this.left - 8,
        this.y(value) + 0.26 * this.rem,
        "end",
        this.specification.tick(value, axis),
      );
    });
    times.forEach((time, i) => {
      const place = this.x(time);
      const half = 1.3 * this.rem;
      // A label that would be cut off is left out; its tick stays.
      const fits = place - half >= this.left - 8 && place + half <= this.width;
      label(
        labels[values.length + i],
        place,
        this.height - 0.25 * this.rem,
        "middle",
        fits ? minute(time) : "",
      );
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
    const valueOf = (/** @type {Line} */ line) => (index < 0 ? null : (line.values[index] ?? null));
    const at = time === null ? null : (series.time[index] ?? Math.round(time));
    this.readout.show(
      at,
      lines.map((line) => ({ ...line, text: this.specification.format(valueOf(line)) })),
    );

    const hasPoints = at !== null && !this.specification.bars;
    const shown = hasPoints ? lines.filter((line) => valueOf(line) !== null) : [];
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
      const last = format(known[known.length - 1]);
      return `${name}: ${last} last, from ${format(low)} to ${format(high)}`;
    });
    const times = `${clock(this.start)} to ${clock(this.end)}`;
    const what = parts.join("; ") || this.specification.none || "no figures";
    set(this.svg, "aria-label", `${this.title}, ${times}. ${what}.`);
  }
}
