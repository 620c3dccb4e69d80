// @ts-check
/** What the state of the broker means, in words. */

import { count } from "./format.js";

/** @typedef {import("./documents.js").Backend} Backend */
/** @typedef {import("./documents.js").BrokerStatus} BrokerStatus */

/** From the best to the worst. @type {Record<BrokerStatus, string>} */
const LABELS = {
  unused: "Broker not used yet",
  reachable: "Broker reachable",
  connected: "Broker connected",
  refused: "Broker refuses the probe",
  blocked: "Broker blocked",
  unreachable: "Broker unreachable",
};
const ORDER = /** @type {BrokerStatus[]} */ (Object.keys(LABELS));

/**
 * @param {BrokerStatus} state
 * @param {string} why with a colon before it, or nothing
 */
function meaning(state, why) {
  switch (state) {
    case "blocked":
      return `The broker blocks publishers${why}. ${answered("broker-blocked")}`;
    case "unreachable":
      return `The broker is unreachable${why}. ${answered("broker-unavailable")}`;
    case "refused":
      return `The broker refuses the probe's login${why}. It may still accept the logins of clients.`;
    case "connected":
      return "The broker accepts messages.";
    case "reachable":
      return "The broker answers. No connection to it is open at the moment.";
    case "unused":
      return "No connection to the broker has been needed yet.";
  }
}

/**
 * @typedef {object} Verdict
 * @property {BrokerStatus | "down"} state
 * @property {string} label
 * @property {string} sentence
 * @property {boolean} trouble Whether an operator should look at it.
 */

/**
 * The worst state among the backends that run, and a sentence on all of them.
 * @param {Backend[]} backends
 * @returns {Verdict}
 */
export function judge(backends) {
  const up = backends.filter((each) => each.up);
  const down = backends.filter((each) => !each.up);
  if (!up.length) {
    return {
      state: "down",
      label: "No backend runs",
      sentence: `${named(down)} not running, or stuck. The parent restarts backends that end.`,
      trouble: true,
    };
  }
  const states = up.map((each) => each.broker?.state ?? "unused");
  const state = ORDER[Math.max(...states.map((each) => ORDER.indexOf(each)))];
  const affected = up.filter((_, i) => states[i] === state);
  const reason = (affected[0].broker?.reason ?? "").replace(/\.$/, "");
  const trouble = ORDER.indexOf(state) > ORDER.indexOf("connected");
  const sentences = [meaning(state, reason && `: ${reason}`)];
  if (trouble && affected.length < up.length)
    sentences[0] = `${named(affected, false)}: ${sentences[0]}`;
  if (down.length) sentences.push(`${named(down)} not running, or stuck.`);
  const draining = up.filter((each) => each.draining);
  if (draining.length) sentences.push(`${named(draining)} draining.`);
  if (!trouble && !down.length && !draining.length) {
    sentences.unshift(
      up.length === 1 ? "The backend is up." : `All ${count(up.length)} backends are up.`,
    );
  }
  return {
    state,
    label: LABELS[state],
    sentence: sentences.join(" "),
    trouble: trouble || down.length > 0,
  };
}

/** @param {string} type of the problem */
function answered(type) {
  return `Clients get 503 (${type}); nothing is published.`;
}

/** @param {Backend[]} backends @param {boolean} [verb] */
function named(backends, verb = true) {
  const names = backends.map((each) => each.backend).join(", ");
  if (backends.length === 1) return `Backend ${names}${verb ? " is" : ""}`;
  return `Backends ${names}${verb ? " are" : ""}`;
}
