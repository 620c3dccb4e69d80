// Publish one message as a form with Node's fetch, and try again if that can help.
// Try it with "make run":
//   node examples/publish.mjs && make read QUEUE=test
// STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
// (test) name another gateway, user and exchange.
import { setTimeout as sleep } from "node:timers/promises";

const {
  STATELESSD_URL: url = "http://localhost:8000",
  STATELESSD_AUTH: auth = "guest:guest",
  STATELESSD_EXCHANGE: exchange = "test",
} = process.env;
const TRIES = 5;

// Publish once. Return nothing if RabbitMQ has confirmed the message, else the problem.
async function publishOnce(path, message) {
  // Without an answer, or with a proxy's own, nobody knows whether the message arrived.
  const unknown = { title: "No answer", outcome: "unknown", retryable: true };
  try {
    const response = await fetch(url + path, {
      method: "POST",
      headers: { Authorization: `Basic ${Buffer.from(auth).toString("base64")}` },
      body: new URLSearchParams(message),
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 204) return undefined;
    const retryAfter = response.headers.get("Retry-After");
    const wait = /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined;
    const isProblem = response.headers.get("Content-Type") === "application/problem+json";
    const problem = isProblem ? await response.json() : {};
    return { ...unknown, detail: `the status is ${response.status}`, ...problem, wait };
  } catch (error) {
    return { ...unknown, detail: String(error.cause ?? error) };
  }
}

// Try several times. Return nothing if RabbitMQ has the message, else the last problem.
async function publish(path, message) {
  let outcome = "not-published";
  for (let attempt = 1; ; attempt++) {
    const problem = await publishOnce(path, message);
    if (!problem) return undefined;
    if (problem.outcome !== "not-published") outcome = "unknown";
    if (!problem.retryable || attempt === TRIES) return { ...problem, outcome };
    const backoff = (0.05 + 0.05 * Math.random()) * 2 ** attempt;
    await sleep(1000 * (problem.wait ?? backoff));
  }
}

const problem = await publish(`/%2f/${encodeURIComponent(exchange)}/orders.new`, {
  body: JSON.stringify({ order: 42, note: "50 % more & better" }),
  content_type: "application/json",
  message_id: "order-42", // the same in each try, so that consumers can drop a copy
  mandatory: "true",
  headers: JSON.stringify({ source: "shop" }),
});
if (problem) {
  const fate = problem.outcome === "not-published" ? "Not published" : "Perhaps published";
  console.log(`${fate}: ${problem.title}: ${problem.detail}`);
  process.exitCode = problem.retryable ? 75 : 1;
} else {
  console.log("Published.");
}
