import assert from "node:assert/strict";
import { test } from "node:test";

import { judge } from "../../../../src/statelessd/pages/static/broker.js";
import { empty } from "../../../../src/statelessd/pages/static/history.js";
import { Kinds, whose } from "../../../../src/statelessd/pages/static/overview.js";

const backend = (name, state, reason = "") => ({
  backend: name,
  up: true,
  broker: { state, reason },
});

test("all is well", () => {
  const verdict = judge([backend("8000", "connected"), backend("8001", "unused")]);
  assert.equal(verdict.state, "connected");
  assert.equal(verdict.trouble, false);
  assert.match(verdict.sentence, /^All 2 backends are up\. The broker accepts messages\.$/);
});

test("the worst backend's state is told, with its reason and whose it is", () => {
  const verdict = judge([
    backend("8000", "connected"),
    backend("8001", "blocked", "low on memory"),
  ]);
  assert.equal(verdict.state, "blocked");
  assert.ok(verdict.trouble);
  assert.match(
    verdict.sentence,
    /^Backend 8001: The broker blocks publishers: low on memory\. .*503 \(broker-blocked\)/,
  );
});

test("backends that do not run are told", () => {
  const down = { backend: "8001", up: false };
  assert.match(judge([backend("8000", "connected"), down]).sentence, /Backend 8001 is not running, or stuck\./);
  assert.equal(judge([down]).state, "down");
  assert.ok(judge([down]).trouble);
});

test("a kind of errors keeps its look while others come and go", () => {
  const kinds = new Kinds();
  const looks = (errors) =>
    Object.fromEntries(
      kinds.lines({ ...empty(), time: [1], errors }).map(({ name, look }) => [name, look]),
    );
  assert.deepEqual(looks({ nacked: [1] }), { nacked: 0 });
  assert.deepEqual(looks({ nacked: [1], "no-route": [9] }), { nacked: 0, "no-route": 1 });
  assert.deepEqual(looks({ "no-route": [9] }), { "no-route": 1 });
  assert.deepEqual(looks({ "no-route": [9], overloaded: [1] }), { "no-route": 1, overloaded: 0 });
});

test("the rarest kinds share a line", () => {
  const errors = { a: [9], b: [8], c: [7], d: [6], e: [2], f: [1] };
  const lines = new Kinds().lines({ ...empty(), time: [1], errors });
  assert.deepEqual(
    lines.map(({ name }) => name),
    ["a", "b", "c", "d", "others"],
  );
  assert.deepEqual(lines[4].values, [3]);
});

test("errors are counted in intervals of ten seconds of the clock", () => {
  const errors = { nacked: [0, 2, 1, 0] };
  const [line] = new Kinds().lines({ ...empty(), time: [1008, 1009, 1010, 1011], errors });
  assert.deepEqual(line.values, [2, 2, 1, 1]);
});

test("a chart's title says whose figures it shows", () => {
  assert.equal(whose([backend("8000", "connected")]), "Backend 8000");
  assert.equal(whose([backend("8000"), backend("8001")]), "All 2 backends");
});
