// @ts-check
/** From values to places on a chart. */

/** @typedef {{top: number, step: number}} Axis From 0 to `top`, with a tick at each `step`. */

const INTERVALS = 4;
const ROUND = [1, 2, 2.5, 5, 10];
const ALONE = 4; // pixels
const SHRINKS_BELOW = 0.4; // of the axis

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
 * interrupted; a value alone is a short dash.
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
    else path += `M${(left - ALONE / 2).toFixed(1)} ${top}h${ALONE}`;
  }
  return path;
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
