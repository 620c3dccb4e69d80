// @ts-check
/** The history: the seconds that the page has received. */

/** @typedef {import("./documents.js").Series} Series */

/** @returns {Series} */
export function empty() {
  return {
    backend: null,
    time: [],
    published: [],
    p50: [],
    p99: [],
    in_flight: [],
    waiting: [],
    errors: {},
    broker: [],
  };
}

/**
 * Both, in order. Where both have a second, `news` has it from more backends.
 * @param {Series} held
 * @param {Series} news
 * @param {number} oldest what is older is dropped
 * @returns {Series}
 */
export function merge(held, news, oldest) {
  /** Places in `held`, and in `news` behind them. @type {number[]} */
  const places = [];
  const split = held.time.length;
  let old = 0;
  let fresh = 0;
  while (old < split || fresh < news.time.length) {
    const oldTime = held.time[old] ?? Infinity;
    const freshTime = news.time[fresh] ?? Infinity;
    if (Math.min(oldTime, freshTime) >= oldest) {
      places.push(freshTime <= oldTime ? split + fresh : old);
    }
    if (oldTime <= freshTime) old++;
    if (freshTime <= oldTime) fresh++;
  }

  /** @template T @param {T[]} before @param {T[]} after */
  const column = (before, after) =>
    places.map((place) => (place < split ? before[place] : after[place - split]));
  /** @type {Record<string, number[]>} */
  const errors = {};
  for (const kind of new Set([...Object.keys(held.errors), ...Object.keys(news.errors)])) {
    const values = column(
      held.errors[kind] ?? Array(split).fill(0),
      news.errors[kind] ?? Array(news.time.length).fill(0),
    );
    if (values.some((value) => value > 0)) errors[kind] = values;
  }
  /** @type {any} */
  const merged = { ...news, errors };
  /** @type {[string, any][]} */
  const columns = Object.entries(held).filter(([, values]) => Array.isArray(values));
  for (const [name, values] of columns) merged[name] = column(values, merged[name]);
  return merged;
}

/**
 * The mean of a column over its last seconds.
 * @param {Series} series
 * @param {number[]} column
 * @param {number} seconds
 */
export function recentMean(series, column, seconds) {
  const from = (series.time.at(-1) ?? 0) - seconds;
  let sum = 0;
  let found = 0;
  for (let i = series.time.length - 1; i >= 0 && series.time[i] > from; i--) {
    sum += column[i];
    found++;
  }
  return found ? sum / found : 0;
}

/** @param {number[]} values */
export function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
