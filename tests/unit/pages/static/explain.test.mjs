import assert from "node:assert/strict";
import { test } from "node:test";

import { explain, unanswered } from "../../../../src/statelessd/pages/static/explain.js";

const publish = (more = {}) => ({
  virtualHost: "test",
  exchange: "orders",
  routingKey: "order.paid",
  username: "guest",
  fields: [
    ["body", "x"],
    ["mandatory", "true"],
  ],
  ...more,
});
const problem = (type, outcome = "not-published", detail = "It says why.") =>
  JSON.stringify({ type: `/docs#${type}`, outcome, detail });
const remedy = (type) => `Remedy for ${type}.`;

test("a confirmed message", () => {
  const told = explain(204, "", publish(), remedy);
  assert.equal(told.kind, "published");
  assert.equal(told.verdict, "RabbitMQ confirmed the message.");
  assert.equal(told.next, "At least one queue took it.");
});

test("a confirmed message that perhaps no queue took", () => {
  const told = explain(204, "", publish({ fields: [["body", "x"]] }), remedy);
  assert.equal(told.verdict, "RabbitMQ confirmed the message.");
  assert.match(told.next, /^Perhaps no queue took it: /);
});

test("what nothing took names what to declare", () => {
  const told = (type, more) => explain(404, problem(type), publish(more), remedy);
  const unrouted = told("no-route");
  assert.equal(unrouted.kind, "refused");
  assert.equal(unrouted.verdict, "Nothing was published: no queue took the message.");
  assert.match(unrouted.next, /Bind a queue to the exchange “orders” in the virtual host “test” for the routing key “order\.paid”/);
  for (const exchange of ["", "amq.default"]) {
    assert.match(told("no-route", { exchange }).next, /Declare a queue named “order\.paid” in the virtual host “test”/);
  }
  const none = told("exchange-not-found");
  assert.equal(none.verdict, "Nothing was published: there is no exchange “orders” in the virtual host “test”.");
  assert.match(none.next, /^Declare it in RabbitMQ/);
  const nowhere = told("virtual-host-not-found");
  assert.equal(nowhere.verdict, "Nothing was published: RabbitMQ has no virtual host “test”.");
  assert.match(nowhere.next, /add_vhost/);
});

test("any other refusal has the gateway's detail and the remedy of its type", () => {
  const told = explain(401, problem("unauthorized"), publish(), remedy);
  assert.deepEqual(told, {
    kind: "refused",
    verdict: "Nothing was published: It says why.",
    next: "Remedy for unauthorized.",
  });
});

test("what is unknown says so, and that another try may make a second copy", () => {
  const told = explain(504, problem("unconfirmed", "unknown"), publish(), remedy);
  assert.equal(told.kind, "unknown");
  assert.equal(told.verdict, "It is unknown whether the message was published. It says why.");
  assert.match(told.next, /second copy.*Remedy for unconfirmed\./);
});

test("neither a proxy's answer nor none at all is taken for a refusal", () => {
  for (const document of ["<h1>502 Bad Gateway</h1>", "null", "{}", '"text"', ""]) {
    assert.equal(explain(502, document, publish(), remedy).kind, "unknown", document);
  }
  const told = unanswered("Failed to fetch");
  assert.equal(told.kind, "unknown");
  assert.match(told.next, /did not respond \(Failed to fetch\)/);
});
