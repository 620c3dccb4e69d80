import assert from "node:assert/strict";
import { test } from "node:test";

import {
  axisFor,
  barPaths,
  linePath,
  nearest,
  niceStep,
  sums,
  ticks,
  timeTicks,
} from "../../../../src/statelessd/pages/static/scale.js";

test("steps are round", () => {
  for (const [rough, step] of [
    [0.9, 1],
    [1, 1],
    [1.1, 2],
    [2.1, 2.5],
    [2.6, 5],
    [7, 10],
    [0.0003, 0.0005],
  ]) {
    assert.equal(niceStep(rough), step);
  }
  assert.equal(niceStep(0.3, true), 1);
  assert.equal(niceStep(2.1, true), 5);
  assert.equal(niceStep(21, true), 25);
});

test("an axis holds its largest value, whatever that is", () => {
  for (let max = 1e-5; max < 1e10; max *= 1.37) {
    const { top, step } = axisFor(null, max, 0);
    assert.ok(top >= max && top < 2.6 * max, `${max}: ${top}`);
    assert.ok(top / step <= 5.0001 && top / step >= 1.9999, `${max}: ${top} / ${step}`);
  }
});

test("an axis does not jump about when the largest value does", () => {
  let axis = axisFor(null, 95, 1);
  assert.equal(axis.top, 100);
  const before = axis;
  for (const max of [45, 99, 60, 100, 41]) axis = axisFor(axis, max, 1);
  assert.equal(axis, before);
  assert.equal(axisFor(axis, 101, 1).top, 150); // what does not fit makes room at once
  assert.ok(axisFor(axis, 30, 1).top < 50);
});

test("an axis without values has its least top", () => {
  assert.deepEqual(ticks(axisFor(null, 0, 4, true)), [0, 1, 2, 3, 4]);
});

test("ticks are free of rounding errors", () => {
  assert.deepEqual(ticks({ top: 0.3, step: 0.1 }), [0, 0.1, 0.2, 0.3]);
});

test("ticks of time are round on the clock, and no more than fit", () => {
  assert.deepEqual(timeTicks(1000, 1600, 5), [1080, 1200, 1320, 1440, 1560]);
  assert.deepEqual(timeTicks(1000, 1600, 2), [1200, 1500]);
  assert.deepEqual(timeTicks(0, 7200, 2, 1800), [1800, 5400]); // a zone of half an hour
});

test("a line is interrupted where there is no second or no value", () => {
  const path = linePath(
    [1, 2, 5, 6, 7, 8],
    [1, 2, 3, null, 4, 5],
    (t) => t * 10,
    (v) => v,
  );
  assert.equal(path, "M10.0 1.0L20.0 2.0M49.0 3.0a1 1 0 1 0 2 0a1 1 0 1 0-2 0M70.0 4.0L80.0 5.0");
  assert.equal(linePath([], [], Number, Number), "");
});

test("sums are those of whole intervals, also where seconds are missing", () => {
  assert.deepEqual(sums([18, 19, 20, 22, 31], [1, 2, 4, 8, 16], 10), [3, 3, 12, 12, 16]);
  assert.deepEqual(sums([20, 21, 22], [0.333, 0.333, 0.333], 10), [1, 1, 1]); // rates are rounded
});

test("bars stand upon each other, one for each interval", () => {
  const paths = barPaths(
    [18, 19, 20, 21],
    [
      [3, 3, 0, 0],
      [5, 5, 4, 4],
    ],
    10,
    (t) => t,
    (v) => 100 - 10 * v,
  );
  assert.deepEqual(paths, ["M10.0 70.0h9.0v30.0h-9.0z", "M10.0 20.0h9.0v50.0h-9.0zM20.0 60.0h9.0v40.0h-9.0z"]);
});

test("a bar of one error can be seen beside thousands", () => {
  const [path] = barPaths([10], [[1]], 10, (t) => t, (v) => 100 - v / 1000);
  assert.equal(path, "M10.0 98.0h9.0v2.0h-9.0z");
});

test("the nearest second with data is found, unless it is too far away", () => {
  const times = [10, 11, 20];
  assert.equal(nearest(times, 10.6, 1), 1);
  assert.equal(nearest(times, 9, 1), 0);
  assert.equal(nearest(times, 15, 1), -1);
  assert.equal(nearest(times, 25, 5), 2);
  assert.equal(nearest([], 1, 5), -1);
});
