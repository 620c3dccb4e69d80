import assert from "node:assert/strict";
import { test } from "node:test";

import {
  bytes,
  cores,
  count,
  duration,
  moment,
  rate,
  seconds,
  short,
  span,
} from "../../../../src/statelessd/pages/static/format.js";

const table = (format, rows) => () => {
  for (const [value, text] of rows) assert.equal(format(value), text);
};

test(
  "counts are grouped",
  table(count, [
    [0, "0"],
    [1234567, "1,234,567"],
  ]),
);

test(
  "large numbers are short",
  table(short, [
    [99_999, "99,999"],
    [123_456, "123K"],
    [2.5e9, "2.5B"],
  ]),
);

test(
  "a rate has a decimal only while it is small",
  table(rate, [
    [0, "0"],
    [0.01, "<0.1"],
    [0.1, "0.1"],
    [9.94, "9.9"],
    [9.96, "10"],
    [1240.4, "1,240"],
  ]),
);

test(
  "a latency has the unit that suits it, and never five digits",
  table(seconds, [
    [null, "–"],
    [0, "0 µs"],
    [0.00042, "420 µs"],
    [0.0009996, "1.0 ms"],
    [0.0021, "2.1 ms"],
    [0.00996, "10 ms"],
    [0.9994, "999 ms"],
    [0.9999, "1.0 s"],
    [12.3, "12 s"],
  ]),
);

test(
  "a duration has its two largest units",
  table(duration, [
    [-1, "0 s"],
    [59.9, "59 s"],
    [61, "1 min 1 s"],
    [7_260, "2 h 1 min"],
    [90_000, "1 d 1 h"],
  ]),
);

test("bytes and cores", () => {
  assert.equal(bytes(43_212_800), "41.2 MiB");
  assert.equal(bytes(3 * 2 ** 30), "3.00 GiB");
  assert.equal(cores(0.123), "12.3 %");
});

test("a time of another day has its day", () => {
  const noon = new Date(2026, 10, 26, 12, 0, 5).getTime() / 1000;
  assert.equal(moment(noon, noon + 60), "12:00:05");
  assert.equal(moment(noon - 86_400, noon), "25 Nov 12:00");
});

test("a span has its day, its year and its time zone", () => {
  const noon = new Date(2026, 10, 26, 12, 0, 5).getTime() / 1000;
  assert.match(span(noon, noon + 600), /^26 Nov 2026, 12:00 to 12:10 UTC([+-]\d+(:\d\d)?)?$/);
  assert.match(span(noon - 43_300, noon), /^25 Nov 2026, 23:58 to 26 Nov 2026, 12:00 UTC/);
});
