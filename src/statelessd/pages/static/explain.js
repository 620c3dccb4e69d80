// @ts-check
/** Explain a response: what became of the message, and what to do next. */

import { DEFAULT_EXCHANGE } from "./code.js";

/** @typedef {import("./code.js").Publish} Publish */

/**
 * @typedef {object} Meaning
 * @property {string} verdict
 * @property {string} next What to do, or what else to know.
 * @property {"published" | "refused" | "unknown"} kind For the style sheet.
 */

const UNKNOWN = "It is unknown whether the message was published.";
const AGAIN = "There is one copy of it, or none. Sending it again can make a second copy.";

/**
 * @param {number} status
 * @param {string} document
 * @param {Publish} publish
 * @param {(type: string) => string} remedyOf what the page says of a problem type
 * @returns {Meaning}
 */
export function explain(status, document, publish, remedyOf) {
  if (status === 204) return confirmed(publish);
  /** @type {{type?: string, detail?: string, outcome?: string}} */
  let problem = {};
  try {
    problem = JSON.parse(document) ?? {};
  } catch {
    // Not the gateway's own answer.
  }
  const { type = "", detail = "", outcome } = problem;
  const name = type.slice(type.indexOf("#") + 1);
  if (outcome === "not-published") {
    const [reason, next] = missing(name, publish) ?? [detail, remedyOf(name)];
    return { kind: "refused", verdict: `Nothing was published: ${reason}`, next };
  }
  if (outcome === "unknown") {
    const next = [AGAIN, remedyOf(name)].filter(Boolean).join(" ");
    return { kind: "unknown", verdict: `${UNKNOWN} ${detail}`.trim(), next };
  }
  const next = `The response is not the gateway's: it may come from a proxy. ${AGAIN}`;
  return { kind: "unknown", verdict: UNKNOWN, next };
}

/** @param {string} why there is no answer @returns {Meaning} */
export function unanswered(why) {
  return {
    kind: "unknown",
    verdict: UNKNOWN,
    next: `The gateway did not respond (${why}). ${AGAIN}`,
  };
}

/** A field of the form has a value that cannot be sent. @returns {Meaning} */
export function incomplete() {
  return { kind: "refused", verdict: "Nothing was sent.", next: "Correct the marked field first." };
}

/** @param {Publish} publish @returns {Meaning} */
function confirmed({ fields }) {
  const mandatory = fields.some(([name]) => name === "mandatory");
  return {
    kind: "published",
    verdict: "RabbitMQ confirmed the message.",
    next: mandatory
      ? "At least one queue took it."
      : "Perhaps no queue took it: without “mandatory”, RabbitMQ silently drops a message without a queue.",
  };
}

/**
 * What has to be declared in RabbitMQ: the reason and the next step. Nothing for other problems.
 * @param {string} type
 * @param {Publish} publish
 * @returns {[string, string] | undefined}
 */
function missing(type, { virtualHost, exchange, routingKey }) {
  const here = `in the virtual host “${virtualHost}”`;
  const isDefault = !exchange || exchange === DEFAULT_EXCHANGE;
  switch (type) {
    case "no-route":
      if (isDefault && !routingKey)
        return [
          "no queue took the message.",
          "Enter a routing key: the default exchange delivers to the queue that it names.",
        ];
      return [
        "no queue took the message.",
        isDefault
          ? `Declare a queue named “${routingKey}” ${here}: the default exchange delivers to the ` +
            "queue that the routing key names. If there is one, check that its node runs."
          : `Bind a queue to the exchange “${exchange}” ${here} for the routing key ` +
            `“${routingKey}”. If there is one, check that its node runs.`,
      ];
    case "exchange-not-found":
      return [
        `there is no exchange “${exchange}” ${here}.`,
        "Declare it in RabbitMQ and bind a queue to it, or publish to an exchange that exists. " +
          "The gateway declares nothing.",
      ];
    case "virtual-host-not-found":
      return [
        `RabbitMQ has no virtual host “${virtualHost}”.`,
        "Add it (rabbitmqctl add_vhost), or use one that exists. RabbitMQ's default is “/”.",
      ];
  }
  return undefined;
}
