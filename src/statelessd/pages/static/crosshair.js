// @ts-check
/** One instant in all charts, moved by the pointer or with the keys of the focused one. */

/** @typedef {import("./charts.js").Chart} Chart */

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
      ArrowLeft: now - step,
      ArrowDown: now - step,
      ArrowRight: now + step,
      ArrowUp: now + step,
      PageDown: now - 60,
      PageUp: now + 60,
      Home: 0,
      End: times.length - 1,
      Escape: null,
    };
    if (!(event.key in targets)) return;
    const target = targets[event.key];
    event.preventDefault();
    this.pointer = null;
    this.time =
      target === null ? null : (times[Math.min(Math.max(0, target), times.length - 1)] ?? last);
    this.update();
  }

  clear() {
    this.pointer = this.time = null;
    this.update();
  }

  /** To be called when the charts have moved. */
  update() {
    if (this.pointer) this.time = this.pointer();
    else if (this.time !== null && this.charts.length)
      this.time = Math.max(this.time, this.charts[0].start);
    for (const chart of this.charts) chart.point(this.time);
  }
}
