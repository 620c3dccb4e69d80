// @ts-check
/**
 * What the gateway answers. The same stands in words in docs/how-to/dashboard.md.
 *
 * @typedef {"unused" | "reachable" | "connected" | "blocked" | "unreachable" | "refused"} BrokerStatus
 * @typedef {{state: BrokerStatus, reason: string}} Broker
 *
 * @typedef {object} Backend
 * @property {string} backend Its name, as in the label `backend` of /metrics.
 * @property {boolean} up Whether a process serves it; if not, the rest is 0 or empty.
 * @property {number} [pid]
 * @property {number} [started] Unix seconds, as all times.
 * @property {number} [loaded]
 * @property {boolean} [draining]
 * @property {Broker} [broker]
 * @property {number} [published] Confirmed since the process started.
 * @property {Record<string, number>} [errors] Answers by problem type since then.
 * @property {number} [in_flight]
 * @property {number} [waiting]
 * @property {number} [broker_connections]
 * @property {number} [client_connections]
 * @property {Record<string, number>} [webhooks_published] By webhook endpoint, as the next three.
 * @property {Record<string, number>} [webhooks_invalid] Requests without a valid signature.
 * @property {Record<string, number>} [webhooks_failed] Requests that failed for another reason.
 * @property {Record<string, number>} [webhooks_in_flight]
 * @property {number} [cpu] Cores used in the last second.
 * @property {number} [memory] Bytes.
 * @property {number} [lag] Seconds.
 *
 * @typedef {object} Series Columns of equal length. Seconds without data are missing.
 * @property {string | null} backend
 * @property {number[]} time Ascending; s stands for [s, s + 1).
 * @property {number[]} published
 * @property {(number | null)[]} p50 Null where nothing was confirmed.
 * @property {(number | null)[]} p99
 * @property {number[]} in_flight
 * @property {number[]} waiting
 * @property {Record<string, number[]>} errors
 * @property {BrokerStatus[]} broker
 *
 * @typedef {object} Overview GET /dashboard.json
 * @property {string} version
 * @property {string} host
 * @property {number} time
 * @property {number} window Seconds of history that are kept.
 * @property {Backend[]} backends
 * @property {Series} series
 *
 * @typedef {object} Connection
 * @property {string} backend
 * @property {string} virtual_host
 * @property {string} user
 * @property {string} state
 * @property {number} since
 * @property {number} publishes
 * @property {number} rate
 * @property {number} queue_size
 * @property {number} in_flight
 * @property {number} channels
 * @property {number} reconnects
 * @property {string} last_error
 *
 * @typedef {object} Failure
 * @property {number} time
 * @property {string} backend
 * @property {number} status
 * @property {string} type
 * @property {string} outcome
 * @property {string} detail
 * @property {string} virtual_host
 * @property {string} exchange
 * @property {string} user
 * @property {string} request_id
 * @property {string} endpoint That of a webhook, or empty.
 *
 * @typedef {object} Details GET /details.json
 * @property {number} time
 * @property {Connection[]} connections
 * @property {number} left_out
 * @property {Failure[]} errors Newest first.
 */

export {};
