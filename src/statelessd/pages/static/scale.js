// @ts-check
/** Map values to places on a chart. */

/** @typedef {{top: number, step: number}} Axis From 0 to `top`, with a tick at each `step`. */

const INTERVALS = 4;
const ROUND = [1, 2, 2.5, 5, 10];
const DOT = "a1 1 0 1 0 2 0a1 1 0 1 0-2 0"; // its stroke fills it
const SHRINKS_BELOW = 0.4; // of the axis
// Of a bar, in pixels.
const NARROWEST = 2;
const LOWEST = 2; // so that one error among thousands is seen
const GAP = 1;

/**
 * The next round number: 1, 2, 2.5 or 5 times a power of ten.
 * @param {number} rough
 * @param {boolean} [whole] no fractions
 */
export function niceStep(rough, whole = false) {
  const power = 10 ** Math.floor(Math.log10(rough));
  for (const factor of ROUND) {
    const step = Number((factor * power).toPrecision(12));
    if (step >= rough * (1 - 1e-9) && (!whole || Number.isInteger(step))) return step;
  }
  return whole ? 1 : 10 * power;
}

/**
 * An axis on which `max` fits. The one before is kept while it is not much too
 * large, so that it does not jump about.
 * @param {Axis | null} before
 * @param {number} max
 * @param {number} least the smallest top
 * @param {boolean} [whole]
 * @returns {Axis}
 */
export function axisFor(before, max, least, whole = false) {
  const needed = Math.max(max, least);
  if (before && needed <= before.top && needed > before.top * SHRINKS_BELOW) return before;
  const step = niceStep(needed / INTERVALS, whole);
  const top = Number((step * Math.ceil(needed / step - 1e-9)).toPrecision(12));
  return before?.top === top ? before : { top, step };
}

/** @param {Axis} axis @returns {number[]} */
export function ticks({ top, step }) {
  const length = Math.round(top / step) + 1;
  return Array.from({ length }, (_, i) => Number((i * step).toPrecision(12)));
}

/**
 * Round times of day with room for a label each.
 * @param {number} start
 * @param {number} end
 * @param {number} most so many at most
 * @param {number} offset seconds that the clock is ahead of UTC
 */
export function timeTicks(start, end, most, offset = 0) {
  const span = end - start;
  const step =
    [60, 120, 180, 300, 600, 1800, 3600, 7200, 14_400].find((each) => span / each <= most) ??
    43_200;
  const found = [];
  for (let at = Math.ceil((start + offset) / step) * step - offset; at <= end; at += step) {
    found.push(at);
  }
  return found;
}

/**
 * The `d` of an SVG path. Where a second or a value is missing the line is
 * interrupted; a value alone is a dot.
 * @param {number[]} times
 * @param {(number | null)[]} values
 * @param {(time: number) => number} x
 * @param {(value: number) => number} y
 */
export function linePath(times, values, x, y) {
  const isConnected = (/** @type {number} */ i) =>
    times[i] - times[i - 1] === 1 && values[i] !== null && values[i - 1] !== null;
  let path = "";
  for (let i = 0; i < times.length; i++) {
    const value = values[i];
    if (value === null) continue;
    const [left, top] = [x(times[i]), y(value).toFixed(1)];
    if (isConnected(i)) path += `L${left.toFixed(1)} ${top}`;
    else if (isConnected(i + 1)) path += `M${left.toFixed(1)} ${top}`;
    else path += `M${(left - 1).toFixed(1)} ${top}${DOT}`;
  }
  return path;
}

/**
 * For each second, the sum over its interval: one of `size` seconds from a round time on.
 * @param {number[]} times
 * @param {number[]} values
 * @param {number} size
 */
export function sums(times, values, size) {
  /** @type {Map<number, number>} */
  const found = new Map();
  const interval = (/** @type {number} */ time) => Math.floor(time / size);
  times.forEach((time, i) => {
    found.set(interval(time), (found.get(interval(time)) ?? 0) + values[i]);
  });
  return times.map((time) => Math.round(found.get(interval(time)) ?? 0));
}

/**
 * The `d` of bars that stand upon each other: a path for each row of values. All seconds of
 * an interval have the same value.
 * @param {number[]} times
 * @param {number[][]} rows
 * @param {number} size seconds of an interval
 * @param {(time: number) => number} x
 * @param {(value: number) => number} y
 */
export function barPaths(times, rows, size, x, y) {
  const paths = rows.map(() => "");
  times.forEach((time, i) => {
    const start = Math.floor(time / size) * size;
    if (i > 0 && times[i - 1] >= start) return;
    const left = x(start);
    const width = Math.max(NARROWEST, x(start + size) - left - GAP);
    let below = y(0);
    rows.forEach((values, row) => {
      if (!values[i]) return;
      const height = Math.max(LOWEST, y(0) - y(values[i]));
      below -= height;
      paths[row] +=
        `M${left.toFixed(1)} ${below.toFixed(1)}h${width.toFixed(1)}` +
        `v${height.toFixed(1)}h${(-width).toFixed(1)}z`;
    });
  });
  return paths;
}

/**
 * The index of the time nearest to one, or -1 when none is near enough.
 * @param {number[]} times
 * @param {number} wanted
 * @param {number} tolerance
 */
export function nearest(times, wanted, tolerance) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  const before = wanted - (times[low - 1] ?? -Infinity);
  const after = (times[low] ?? Infinity) - wanted;
  if (Math.min(before, after) > tolerance) return -1;
  return before < after ? low - 1 : low;
}
