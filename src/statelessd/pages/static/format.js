// @ts-check
/** Numbers, times and durations as people read them. */

export const NONE = "–";

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** 12345 -> "12,345". @param {number} value */
export function count(value) {
  return GROUPED.format(value);
}

/** A number for a narrow place: 1234567 -> "1.23M". @param {number} value */
export function short(value) {
  return value < 100_000 ? count(value) : COMPACT.format(value);
}

/** Something a second, without the unit. @param {number} value */
export function rate(value) {
  if (value === 0) return "0";
  if (value < 0.05) return "<0.1";
  return value < 9.95 ? value.toFixed(1) : short(value);
}

/** A short time, with its unit: 0.0021 -> "2.1 ms". @param {number | null | undefined} value */
export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  const microseconds = value * 1e6;
  if (microseconds < 999.5) return `${microseconds.toFixed(0)} µs`;
  if (microseconds < 9_950) return `${(value * 1e3).toFixed(1)} ms`;
  if (microseconds < 999_500) return `${(value * 1e3).toFixed(0)} ms`;
  return `${value < 9.95 ? value.toFixed(1) : count(value)} s`;
}

/** How long something has lasted: its two largest units. @param {number} value seconds */
export function duration(value) {
  const total = Math.max(0, Math.floor(value));
  const [days, hours, minutes] = [86_400, 3_600, 60].map((unit) => Math.floor(total / unit));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${total % 60} s` : `${total} s`;
}

/** @param {number} value bytes */
export function bytes(value) {
  const mebibytes = value / 2 ** 20;
  return mebibytes < 1024 ? `${mebibytes.toFixed(1)} MiB` : `${(mebibytes / 1024).toFixed(2)} GiB`;
}

/** Cores in use, in percent of one. @param {number} value */
export function cores(value) {
  return `${(value * 100).toFixed(1)} %`;
}

/** The time of day, to the second. @param {number} time Unix seconds */
export function clock(time) {
  return CLOCK.format(time * 1000);
}

/** The time of day, to the minute. @param {number} time */
export function minute(time) {
  return MINUTE.format(time * 1000);
}

/**
 * The time of day, with the day if that is another one.
 * @param {number} time
 * @param {number} now
 */
export function moment(time, now) {
  const day = DAY.format(time * 1000);
  return day === DAY.format(now * 1000) ? clock(time) : `${day} ${minute(time)}`;
}

/** Two times to the minute, with the day and the time zone. @param {number} start @param {number} end */
export function span(start, end) {
  const [first, last] = [start, end].map((time) => DATE.format(time * 1000));
  const until = first === last ? minute(end) : `${last}, ${minute(end)}`;
  return `${first}, ${minute(start)} to ${until} ${zone(end)}`;
}

/** How far the clock is ahead of UTC: "UTC+5:30". @param {number} time */
function zone(time) {
  const minutes = -new Date(time * 1000).getTimezoneOffset();
  if (!minutes) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const sign = minutes < 0 ? "-" : "+";
  return `UTC${sign}${hours}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}
