// Publish one message with Node's fetch, as a form, and try again what is worth it.
// With "make run" it works as it is:
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

// One try: nothing when the broker has confirmed the message, else the problem document.
async function publishOnce(path, message) {
  // No answer, or a proxy's own: then nobody knows whether the message got through.
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

// Nothing when the broker has confirmed the message, else the problem that is left.
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
  message_id: "order-42", // the same in every try: so consumers can drop a second copy
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
