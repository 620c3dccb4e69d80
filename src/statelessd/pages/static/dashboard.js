// @ts-check
/** Ask the gateway for figures once a second, and show them. */

import { Connections } from "./connections.js";
import { copies, find, GATEWAY, write } from "./dom.js";
import { clock } from "./format.js";
import { empty, merge, recentMean, sum } from "./history.js";
import { OverviewPart } from "./overview.js";
import { backends, failures, Outcomes, webhooks, webhooksOf } from "./tables.js";
import { tryIt } from "./tryit.js";

/** @typedef {import("./documents.js").Backend} Backend */
/** @typedef {import("./documents.js").Details} Details */
/** @typedef {import("./documents.js").Overview} Overview */

const EVERY = 1_000; // milliseconds
const PATIENCE = 2_500;
const PATIENCE_FOR_MUCH = 15_000; // the whole history, or many connections, over a slow line
const LOST_AFTER = 3_000;
const OVERLAP = 5; // seconds asked for again: a backend may have told its own late
const DETAILS_SEEN = 2_000; // while a table of them is on the screen
const DETAILS_UNSEEN = 5_000;
const RECENT = 60; // seconds

class Dashboard {
  constructor() {
    this.scope = /** @type {HTMLSelectElement} */ (find(document, "#scope"));
    this.status = find(document, "#status");
    this.nothing = find(document, "#nothing");
    this.title = document.title;
    this.overview = new OverviewPart();
    this.connections = new Connections(find(document, "#connections"));
    this.outcomes = new Outcomes(find(document, "#outcomes"));
    this.backends = backends(find(document, "#backends"));
    this.webhooksSection = find(document, "#webhooks");
    this.webhooks = webhooks(this.webhooksSection);
    const errors = find(document, "#errors");
    this.failures = failures(errors);
    this.noFailures = find(errors, ".none");
    this.failuresTable = find(errors, ".scroll");
    tryIt(find(document, "#try-it"));
    for (const slot of document.querySelectorAll(".origin")) write(slot, GATEWAY);
    const copyFirst = /** @type {HTMLButtonElement} */ (find(document, "#copy-first"));
    copyFirst.hidden = false;
    copies(copyFirst, find(document, "#first-line"));

    this.series = empty();
    this.answeredAt = Date.now() / 1000;
    this.refusal = ""; // the status of what came in place of figures
    this.detailsAt = -Infinity;
    this.detailsSeen = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.lostTimer = undefined;
    this.asking = false;

    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) seen.add(target);
        else seen.delete(target);
      }
      this.detailsSeen = seen.size > 0;
    });
    /** @type {Set<Element>} */
    const seen = new Set();
    for (const name of ["#connections", "#errors"]) observer.observe(find(document, name));

    this.scope.disabled = false;
    this.scope.addEventListener("change", () => {
      this.forget();
      this.ask();
    });
    document.addEventListener("visibilitychange", () => this.visibility());
    // The browser shows a page again that it had kept.
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.visibility());
  }

  /** Ask only while the page is visible. */
  visibility() {
    clearTimeout(this.timer);
    clearTimeout(this.lostTimer);
    if (document.hidden) return;
    this.expect();
    this.ask();
  }

  /** Expect a response in time. Otherwise the gateway is lost. */
  expect() {
    clearTimeout(this.lostTimer);
    this.lostTimer = setTimeout(() => this.lose(), LOST_AFTER);
  }

  /** Ask once, and again a second after this request began. */
  async ask() {
    if (this.asking) return;
    this.asking = true;
    clearTimeout(this.timer);
    const began = performance.now();
    const scope = this.scope.value;
    try {
      const answered = await this.askOverview(scope);
      const due = this.detailsSeen ? DETAILS_SEEN : DETAILS_UNSEEN;
      if (answered && began - this.detailsAt >= due - EVERY / 2) this.askDetails(began);
    } finally {
      this.asking = false;
      const wait = scope === this.scope.value ? EVERY - (performance.now() - began) : 0;
      if (!document.hidden) this.timer = setTimeout(() => this.ask(), Math.max(0, wait));
    }
  }

  /** @param {string} scope @returns {Promise<boolean>} whether there was an answer */
  async askOverview(scope) {
    const query = new URLSearchParams();
    if (scope) query.set("backend", scope);
    const last = this.series.time.at(-1);
    if (last !== undefined) query.set("since", String(last - OVERLAP));
    const patience = last === undefined ? PATIENCE_FOR_MUCH : PATIENCE;
    const answer = await get(`dashboard.json?${query}`, patience);
    if (answer?.status === 400 && this.scope.value) {
      this.scope.value = ""; // a reload took this backend away
      this.forget();
    }
    this.refusal = answer && !answer.document ? String(answer.status) : "";
    if (!answer?.document) return false;
    /** @type {Overview} */
    const overview = answer.document;
    if (last !== undefined && overview.time < last - OVERLAP)
      this.forget(); // its clock was set back
    else if (scope === this.scope.value) this.show(overview);
    this.answeredAt = Date.now() / 1000;
    this.expect();
    return true;
  }

  /** Ask for the details. The figures do not wait for them. @param {number} began */
  async askDetails(began) {
    this.detailsAt = Infinity;
    const answer = await get("details.json", PATIENCE_FOR_MUCH);
    this.detailsAt = began;
    if (!answer?.document) return;
    /** @type {Details} */
    const details = answer.document;
    this.connections.show(details);
    this.failures.show(details.errors, details.time);
    this.noFailures.hidden = details.errors.length > 0;
    this.failuresTable.hidden = details.errors.length === 0;
  }

  /** @param {Overview} overview */
  show(overview) {
    this.series = merge(this.series, overview.series, Math.floor(overview.time) - overview.window);
    this.offer(overview.backends);
    const shown = overview.backends.filter(({ backend }) =>
      [backend, ""].includes(this.scope.value),
    );
    const verdict = this.overview.show(overview, this.series, shown);
    this.backends.show(overview.backends, overview.time);
    const endpoints = webhooksOf(shown);
    this.webhooks.show(endpoints, overview.time);
    this.webhooksSection.hidden = endpoints.length === 0;

    /** @type {Record<string, number>} */
    const counts = {};
    for (const { errors = {} } of shown) {
      for (const [kind, more] of Object.entries(errors)) counts[kind] = (counts[kind] ?? 0) + more;
    }
    const rates = Object.entries(this.series.errors).map(([kind, column]) => [
      kind,
      recentMean(this.series, column, RECENT),
    ]);
    this.outcomes.show(counts, Object.fromEntries(rates));

    // A reload begins to count anew, and leaves the history.
    const published = overview.backends.map(({ published = 0 }) => published);
    this.nothing.hidden = sum([...published, ...this.series.published]) > 0;
    document.body.dataset.state = "live";
    document.body.dataset.trouble = String(verdict.trouble);
    write(this.status, verdict.sentence);
    this.entitle(verdict.trouble ? verdict.label : "");
  }

  /** Offer the present backends for choice. @param {Backend[]} all */
  offer(all) {
    const wanted = ["", ...all.map(({ backend }) => backend)];
    const offered = Array.from(this.scope.options, ({ value }) => value);
    if (wanted.join("\n") === offered.join("\n")) return;
    const chosen = this.scope.value;
    const options = wanted.map(
      (name) => new Option(name ? `Backend ${name}` : "All backends", name),
    );
    this.scope.replaceChildren(...options);
    this.scope.value = wanted.includes(chosen) ? chosen : "";
    if (this.scope.value !== chosen) this.forget();
  }

  /** Forget the history, because it is of another scope or another clock. */
  forget() {
    this.series = empty();
    this.overview.reset();
  }

  lose() {
    document.body.dataset.state = "lost";
    const instead = this.refusal && `, but ${this.refusal}`;
    write(
      this.status,
      `No ${instead ? "figures" : "response"} from the gateway since ${clock(this.answeredAt)}${instead}. ` +
        "The page shows the figures of that time and keeps trying.",
    );
    this.entitle(instead ? "No figures" : "No response");
  }

  /** @param {string} trouble */
  entitle(trouble) {
    const title = trouble ? `${trouble}: ${this.title}` : this.title;
    if (document.title !== title) document.title = title;
  }
}

/**
 * Get a document. Return null if the response is missing, late or not JSON.
 * @param {string} name @param {number} patience
 * @returns {Promise<{status: number, document: any} | null>}
 */
async function get(name, patience) {
  try {
    const response = await fetch(`${GATEWAY}/${name}`, {
      cache: "no-store",
      signal: AbortSignal.timeout(patience),
    });
    return { status: response.status, document: response.ok ? await response.json() : null };
  } catch {
    return null;
  }
}

new Dashboard().visibility();
