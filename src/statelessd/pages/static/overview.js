// @ts-check
/** The top of the page: the figures, the charts and the state of the broker. */

import { judge } from "./broker.js";
import { Chart } from "./charts.js";
import { Crosshair } from "./crosshair.js";
import { find, set, write } from "./dom.js";
import { count, NONE, rate, seconds, short } from "./format.js";
import { recentMean, sum } from "./history.js";
import { sums } from "./scale.js";

/** @typedef {import("./documents.js").Backend} Backend */
/** @typedef {import("./documents.js").Overview} Document */
/** @typedef {import("./documents.js").Series} Series */

const KINDS = 4; // of errors that have bars of their own
const INTERVAL = 10; // seconds that a bar stands for
const OTHERS = "others";
const RECENT = 60; // seconds

/** @param {number | null} value */
const eachSecond = (value) => (value === null ? NONE : `${rate(value)}/s`);

/** @param {number | null} value */
const messages = (value) => (value === null ? NONE : short(value));

/** @param {number} value */
const plain = (value) => (Number.isInteger(value) ? short(value) : String(value));

/**
 * The unit is that of the whole axis.
 * @param {number} value
 * @param {import("./scale.js").Axis} axis
 */
function latencyTick(value, { top }) {
  const [factor, unit] = top < 1e-3 ? [1e6, "µs"] : top < 1 ? [1e3, "ms"] : [1, "s"];
  return `${Number((value * factor).toPrecision(6))} ${unit}`;
}

/**
 * The kinds of errors. Each keeps its look while it is shown; the rarer ones are one kind.
 */
export class Kinds {
  constructor() {
    /** @type {Map<string, number>} */
    this.looks = new Map();
  }

  /** @param {Series} series @returns {import("./charts.js").Line[]} */
  lines({ errors, time }) {
    const byTotal = Object.entries(errors)
      .map(([name, values]) => ({ name, values: sums(time, values, INTERVAL), total: sum(values) }))
      .sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1));
    const own = byTotal.slice(0, KINDS);
    const rest = byTotal.slice(KINDS);
    for (const name of this.looks.keys()) {
      if (!own.some((kind) => kind.name === name)) this.looks.delete(name);
    }
    const lines = own.map(({ name, values }) => kind(name, values, this.lookOf(name)));
    lines.sort((a, b) => a.look - b.look);
    if (rest.length) {
      const values = time.map((_, i) => sum(rest.map((kind) => kind.values[i])));
      lines.push(kind(OTHERS, values, KINDS));
    }
    return lines;
  }

  /** @param {string} name */
  lookOf(name) {
    const taken = new Set(this.looks.values());
    const free = Array.from({ length: KINDS }, (_, i) => i).find((look) => !taken.has(look)) ?? 0;
    const look = this.looks.get(name) ?? free;
    this.looks.set(name, look);
    return look;
  }
}

/** @param {string} name @param {number[]} values @param {number} look */
function kind(name, values, look) {
  return { name, label: name, values, look };
}

/** @type {Record<string, () => import("./charts.js").Specification>} */
const CHARTS = {
  publishes: () => ({
    lines: ({ published: values }) => [{ name: "published", label: "confirmed", values, look: 10 }],
    format: eachSecond,
    tick: plain,
    least: 4,
  }),
  latency: () => ({
    lines: ({ p50, p99 }) => [
      { name: "p50", label: "p50", values: p50, look: 10 },
      { name: "p99", label: "p99", values: p99, look: 11 },
    ],
    format: seconds,
    tick: latencyTick,
    least: 0.001,
  }),
  errors: () => {
    const kinds = new Kinds();
    return {
      lines: (series) => kinds.lines(series),
      format: messages,
      tick: plain,
      least: 4,
      whole: true,
      bars: INTERVAL,
      none: "No errors",
    };
  },
  load: () => ({
    lines: ({ in_flight, waiting }) => [
      { name: "in_flight", label: "in flight", values: in_flight, look: 10 },
      { name: "waiting", label: "waiting", values: waiting, look: 11 },
    ],
    format: messages,
    tick: plain,
    least: 4,
    whole: true,
  }),
};

export class OverviewPart {
  constructor() {
    this.crosshair = new Crosshair();
    /** @type {Chart[]} */
    this.charts = [];
    for (const figure of /** @type {NodeListOf<HTMLElement>} */ (
      document.querySelectorAll(".chart")
    )) {
      this.charts.push(new Chart(figure, CHARTS[figure.dataset.chart ?? ""](), this.crosshair));
    }
  }

  /** Forget the axes, because another scope needs its own. */
  reset() {
    for (const chart of this.charts) chart.axis = null;
  }

  /**
   * @param {Document} overview
   * @param {Series} series
   * @param {Backend[]} backends those of the scope
   */
  show(overview, series, backends) {
    const end = Math.floor(overview.time);
    const of = `${whose(backends)} on ${overview.host}`;
    for (const chart of this.charts) chart.show(series, end - overview.window, end, of);
    this.crosshair.update();
    this.figures(series, backends);
    return this.broker(backends);
  }

  /** @param {Series} series @param {Backend[]} backends */
  figures(series, backends) {
    const total = (/** @type {"published" | "in_flight" | "waiting"} */ name) =>
      sum(backends.map((each) => each[name] ?? 0));
    const kinds = Object.entries(series.errors);
    const errors = sum(kinds.map(([, values]) => values.at(-1) ?? 0));
    const publishes = series.published.at(-1) ?? 0;
    const [p50, p99] = [series.p50.at(-1) ?? null, series.p99.at(-1) ?? null];
    figure("publishes", publishes, rate(publishes));
    figure("p50", p50, seconds(p50));
    figure("p99", p99, seconds(p99));
    figure("errors", errors, rate(errors));
    figure("in_flight", total("in_flight"), short(total("in_flight")));
    figure("waiting", total("waiting"), short(total("waiting")));
    figure("published", total("published"), count(total("published")));

    const frequent = kinds
      .map(([name, values]) => ({
        name,
        now: values.at(-1) ?? 0,
        perSecond: recentMean(series, values, RECENT),
      }))
      .filter(({ perSecond }) => perSecond > 0)
      .sort((a, b) => b.now - a.now || b.perSecond - a.perSecond);
    const [first, ...others] = frequent;
    const more = others.length ? ` +${others.length} ${others.length === 1 ? "kind" : "kinds"}` : "";
    write(find(document, "#errors-kinds"), first ? first.name + more : "none in the last minute");
    set(find(document, ".figure-errors"), "data-some", String(errors > 0));
  }

  /** @param {Backend[]} backends */
  broker(backends) {
    const verdict = judge(backends);
    document.body.dataset.broker = verdict.state;
    const pill = find(document, '[data-figure="broker"]');
    set(pill, "data-value", verdict.state);
    write(find(pill, ".number"), verdict.label);
    return verdict;
  }
}

/** The backends of the scope, in a few words. @param {Backend[]} backends */
export function whose(backends) {
  return backends.length === 1 ? `Backend ${backends[0].backend}` : `All ${backends.length} backends`;
}

/**
 * @param {string} name
 * @param {number | null} exact
 * @param {string} text with its unit behind a space
 */
function figure(name, exact, text) {
  const root = find(document, `[data-figure="${name}"]`);
  set(root, "data-value", exact === null ? "" : String(exact));
  const [number, unit] = text.split(" ");
  write(find(root, ".number"), number);
  const small = root.querySelector(".unit");
  if (small && unit !== undefined) write(small, unit);
}
