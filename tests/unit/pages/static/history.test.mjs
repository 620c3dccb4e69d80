import assert from "node:assert/strict";
import { test } from "node:test";

import { empty, merge, recentMean } from "../../../../src/statelessd/pages/static/history.js";

/** The seconds of `time`, each with `value`. */
function series(time, value, errors = {}) {
  const all = time.map(() => value);
  return {
    backend: null,
    time,
    published: all,
    p50: all,
    p99: all,
    in_flight: all,
    waiting: all,
    errors,
    broker: time.map(() => "connected"),
  };
}

test("news replace what is held of the same seconds, and leave gaps", () => {
  const merged = merge(series([1, 2, 3], 1), series([3, 4, 8], 2), 0);
  assert.deepEqual(merged.time, [1, 2, 3, 4, 8]);
  assert.deepEqual(merged.published, [1, 1, 2, 2, 2]);
  assert.equal(merged.broker.length, 5);
});

test("a second that came late takes its place", () => {
  assert.deepEqual(merge(series([1, 2, 4], 1), series([3], 2), 0).published, [1, 1, 2, 1]);
});

test("what is older than the window is dropped, over a day as well", () => {
  let held = empty();
  for (let now = 0; now < 86_400; now += 60) {
    const recent = Array.from({ length: 65 }, (_, i) => now - 65 + i);
    held = merge(held, series(recent, 1), now - 600);
    assert.ok(held.time.length <= 600);
    assert.ok(held.time[0] >= now - 600);
    assert.deepEqual(
      held.time,
      [...new Set(held.time)].sort((a, b) => a - b),
    );
  }
});

test("each kind of error has a value for each second, and goes with its last error", () => {
  const held = series([1, 2], 1, { "no-route": [5, 0] });
  const merged = merge(held, series([3], 1, { nacked: [2] }), 0);
  assert.deepEqual(merged.errors, { "no-route": [5, 0, 0], nacked: [0, 0, 2] });
  assert.deepEqual(merge(merged, series([4], 1), 2).errors, { nacked: [0, 2, 0] });
});

test("a mean is one of the last seconds that there are", () => {
  const held = series([1, 99, 100], 0);
  assert.equal(recentMean(held, [300, 1, 2], 60), 1.5);
  assert.equal(recentMean(empty(), [], 60), 0);
});
