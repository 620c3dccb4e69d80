// @ts-check
/** The form that publishes one message. The password leaves its field only for the request. */

import { authorization, form, path, refusal, WRITERS } from "./code.js";
import { copies, find, GATEWAY, write } from "./dom.js";
import { explain, incomplete, unanswered } from "./explain.js";
import { seconds } from "./format.js";

/** @typedef {import("./code.js").Language} Language */
/** @typedef {import("./code.js").Publish} Publish */

const PROPERTIES = [
  "content_type",
  "delivery_mode",
  "priority",
  "expiration",
  "message_id",
  "correlation_id",
  "type",
  "app_id",
  "reply_to",
  "headers",
];
const PATH = ["virtual_host", "exchange", "routing_key"];
const TOLD = ["content-type", "x-request-id", "retry-after", "allow", "amqp-message-id"];
const PATIENCE = 65_000; // milliseconds; the gateway answers within a minute at the most

/** @param {HTMLElement} section */
export function tryIt(section) {
  const fields = /** @type {HTMLFormElement} */ (find(section, "form"));
  const submit = /** @type {HTMLButtonElement} */ (find(fields, "[type=submit]"));
  const code = find(section, "#code");
  const answer = find(section, "#answer");
  /** @type {Language} */
  let language = "curl";
  const buttons = Array.from(
    /** @type {NodeListOf<HTMLButtonElement>} */ (section.querySelectorAll("[data-copy]")),
  );

  const value = (/** @type {string} */ name) => {
    const field = fields.elements.namedItem(name);
    if (field instanceof HTMLInputElement && field.type === "checkbox")
      return field.checked ? "true" : "";
    // UTF-8 cannot carry half of a surrogate pair, so that becomes U+FFFD.
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(
      new TextEncoder().encode(/** @type {HTMLInputElement} */ (field).value),
    );
  };

  /** @returns {Publish} */
  const publish = () => ({
    virtualHost: value("virtual_host"),
    exchange: value("exchange"),
    routingKey: value("routing_key"),
    username: value("username"),
    fields: [
      ["body", value("body")],
      ...[...PROPERTIES, "mandatory"]
        .map((name) => /** @type {[string, string]} */ ([name, value(name)]))
        .filter(([, text]) => text !== ""),
    ],
  });

  const writeCode = () => write(code, WRITERS[language](publish(), GATEWAY));

  const check = () => {
    for (const name of PATH) at(fields, name).setCustomValidity(refusal(value(name)));
    const colon = value("username").includes(":");
    at(fields, "username").setCustomValidity(
      colon ? "A user name in Basic credentials cannot have a colon." : "",
    );
    at(fields, "headers").setCustomValidity(headersProblem(value("headers")));
  };

  fields.addEventListener("input", () => {
    check();
    writeCode();
  });
  for (const button of buttons) {
    button.addEventListener("click", () => {
      language = /** @type {Language} */ (button.dataset.copy);
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
      writeCode();
    });
    copies(button, code);
    button.disabled = false;
  }
  // Open the details, so that the browser can show a field in them that has to be corrected.
  const more = /** @type {HTMLDetailsElement} */ (find(fields, "details"));
  more.addEventListener("invalid", () => (more.open = true), { capture: true });
  fields.addEventListener("invalid", () => show(answer, NOT_SENT), { capture: true });
  fields.addEventListener("submit", async (event) => {
    event.preventDefault();
    const password = at(fields, "password").value;
    submit.disabled = true;
    write(find(answer, ".verdict"), "Sending …");
    show(answer, await send(publish(), password));
    submit.disabled = false;
  });
  // A browser may keep the page for its Back button, and another person may press that.
  window.addEventListener("pagehide", () => (at(fields, "password").value = ""));
  find(fields, "fieldset").removeAttribute("disabled");
  writeCode();
}

/** @param {HTMLFormElement} fields @param {string} name */
function at(fields, name) {
  return /** @type {HTMLInputElement} */ (fields.elements.namedItem(name));
}

/** @param {string} text */
function headersProblem(text) {
  if (!text) return "";
  try {
    const parsed = JSON.parse(text);
    if (parsed && typeof parsed === "object" && !Array.isArray(parsed)) return "";
  } catch {
    // The message below says it.
  }
  return 'The headers must be a JSON object, such as {"source": "shop"}.';
}

/** What to do about a problem, as the table of outcomes says it. @param {string} type */
function remedyOf(type) {
  const row = document.querySelector(`#outcomes [data-problem="${CSS.escape(type)}"]`);
  return row?.querySelector("em")?.textContent ?? "";
}

/**
 * @typedef {object} Answer
 * @property {import("./explain.js").Meaning} meaning
 * @property {string} line The status.
 * @property {string} headers
 * @property {string} document As it came.
 */

/** Instead of the answer to an earlier message. @type {Answer} */
const NOT_SENT = { meaning: incomplete(), line: "", headers: "", document: "" };

/** @param {Publish} publish @param {string} password @returns {Promise<Answer>} */
async function send(publish, password) {
  const started = performance.now();
  try {
    const response = await fetch(GATEWAY + path(publish), {
      method: "POST",
      body: form(publish),
      headers: {
        authorization: authorization(publish.username, password),
        "content-type": "application/x-www-form-urlencoded",
      },
      credentials: "omit", // so that a 401 makes the browser ask nobody
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE),
    });
    const document = await response.text();
    const took = seconds((performance.now() - started) / 1000);
    return {
      line: `${response.status} ${response.statusText}`.trim() + `, after ${took}`,
      headers: TOLD.filter((name) => response.headers.has(name))
        .map((name) => `${name}: ${response.headers.get(name)}`)
        .join("\n"),
      document,
      meaning: explain(response.status, document, publish, remedyOf),
    };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return {
      line: "",
      headers: "",
      document: "",
      meaning: unanswered(why),
    };
  }
}

/** @param {HTMLElement} root @param {Answer} answer */
function show(root, answer) {
  const { kind, verdict, next } = answer.meaning;
  root.dataset.kind = kind;
  write(find(root, ".verdict"), verdict);
  write(find(root, ".next"), next);
  write(find(root, ".line"), answer.line);
  const [headers, document] = [find(root, ".headers"), find(root, ".document")];
  write(headers, answer.headers);
  headers.hidden = !answer.headers;
  write(document, answer.document);
  document.hidden = !answer.document;
}
