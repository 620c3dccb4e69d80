// Runs in the dashboard's page before its own scripts, as tests/page/soak.py has it:
// a clock that goes only as fast as the page can work, and documents of a gateway that
// does everything that changes the page, again and again.
"use strict";

/** @typedef {{due: number, every: number | null, call: Function}} Timer */

const Fast = (() => {
  const RealDate = Date;
  const begun = Math.floor(RealDate.now() / 1000) * 1000;
  let now = begun;
  let lastTimer = 0;
  let updates = 0;
  /** @type {Map<number, Timer>} */
  const timers = new Map();
  const channel = new MessageChannel();

  /** @param {Function} call @param {number} delay @param {boolean} again */
  function schedule(call, delay, again) {
    const wait = Math.max(1, Number(delay) || 0);
    timers.set(++lastTimer, { due: now + wait, every: again ? wait : null, call });
    return lastTimer;
  }

  /** Let the browser do what it does between two tasks. */
  function breathe() {
    return new Promise((resolve) => {
      channel.port1.onmessage = resolve;
      channel.port2.postMessage(0);
    });
  }

  /** Let so many seconds pass. @param {number} seconds */
  async function run(seconds) {
    const end = now + seconds * 1000;
    for (;;) {
      /** @type {[number, Timer] | null} */
      let next = null;
      for (const entry of timers) {
        if (next === null || entry[1].due < next[1].due) next = entry;
      }
      if (next === null || next[1].due > end) break;
      const [id, timer] = next;
      now = Math.max(now, timer.due);
      if (timer.every === null) timers.delete(id);
      else timer.due = now + timer.every;
      timer.call(now - begun);
      await breathe();
    }
    now = end;
    return { updates, timers: timers.size };
  }

  class FastDate extends RealDate {
    /** @param {any[]} given */
    constructor(...given) {
      // @ts-expect-error - as many as Date takes
      super(...(given.length ? given : [now]));
    }

    static now() {
      return now;
    }
  }

  /** @param {string | URL | Request} target */
  async function answer(target) {
    const url = new URL(target instanceof Request ? target.url : target, location.href);
    const second = phase(Math.floor(now / 1000));
    if (second >= 75 && second < 85) throw new TypeError("the gateway is away");
    let text;
    if (url.pathname === "/dashboard.json") {
      updates += 1;
      text = JSON.stringify(figures(url.searchParams));
    } else if (url.pathname === "/details.json") {
      text = JSON.stringify(details());
    } else {
      throw new TypeError(`nobody answers ${url}`);
    }
    const headers = { "content-type": "application/json" };
    // Without the tasks in which a Response reads its own body, for which no clock waits.
    return Object.assign(new Response(null, { headers }), {
      json: async () => JSON.parse(text),
      text: async () => text,
    });
  }

  const BACKENDS = ["8000", "8001", "8002"];

  const PERIOD = 150; // seconds, after which everything is the same but for names and times

  /** @param {number} second */
  function phase(second) {
    return (second - begun / 1000 + 10 * PERIOD) % PERIOD;
  }

  /** @param {number} second */
  function broker(second) {
    const at = phase(second);
    if (at >= 20 && at < 35) return { state: "blocked", reason: "low on memory" };
    if (at >= 50 && at < 60) return { state: "unreachable", reason: "connection refused" };
    return { state: "connected", reason: "" };
  }

  /** @param {URLSearchParams} asked */
  function figures(asked) {
    const last = Math.floor(now / 1000) - 2;
    const since = Math.max(Number(asked.get("since") ?? 0), last - 600);
    const time = [];
    for (let s = since + 1; s <= last; s++) if (phase(s) >= 5) time.push(s); // else a gap
    const rate = time.map((s) => 500 + Math.round(400 * Math.sin((s / PERIOD) * 2 * Math.PI)));
    const kind = phase(last) < 75 ? "no-route" : "unauthorized";
    return {
      version: "0.0.0",
      host: "fast-forward",
      time: now / 1000,
      window: 600,
      backends: BACKENDS.map((backend, i) => ({
        backend,
        up: i < 2 || phase(last) < 100 || phase(last) >= 110,
        pid: 4000 + i,
        started: begun / 1000,
        loaded: begun / 1000,
        draining: false,
        broker: broker(last),
        published: (last - begun / 1000) * 100 + i,
        errors: { "no-route": 1 + phase(last), unauthorized: 3 },
        in_flight: phase(last) % 5,
        waiting: phase(last) % 3,
        broker_connections: 12,
        client_connections: 20,
        cpu: 0.2,
        memory: 4e7 + phase(last) * 1e4,
        lag: 0.0004,
        descriptors: 40,
      })),
      series: {
        backend: asked.get("backend"),
        time,
        published: rate,
        p50: rate.map((each) => (each % 11 ? 0.002 + each / 1e6 : null)),
        p99: rate.map((each) => (each % 11 ? 0.01 + each / 1e5 : null)),
        in_flight: rate.map((each) => each % 20),
        waiting: rate.map((each) => each % 4),
        errors: { [kind]: rate.map((each) => each % 3) },
        broker: time.map((s) => broker(s).state),
      },
    };
  }

  function details() {
    const second = Math.floor(now / 1000);
    // Connections and errors that come and go, none with a name that was there before.
    const connections = Array.from({ length: 30 }, (_, i) => ({
      backend: BACKENDS[i % 3],
      virtual_host: i < 25 ? `host-${i}` : `host-${i}-${Math.floor(second / 20)}`,
      user: `user-${i % 4}`,
      state: i % 10 ? "connected" : "waiting",
      since: second - 100,
      publishes: second * 10 + i,
      rate: (phase(second) * (i + 1)) % 97,
      queue_size: i % 3,
      in_flight: i % 2,
      channels: 2,
      reconnects: 0,
      last_error: i % 10 ? "" : "connection refused",
    }));
    const errors = Array.from({ length: 100 }, (_, i) => ({
      time: second - i,
      backend: BACKENDS[i % 3],
      status: 404,
      type: "no-route",
      outcome: "not-published",
      detail: "no queue took the message",
      virtual_host: "/",
      exchange: "orders",
      user: "shop",
      request_id: `id-${second - i}`,
      endpoint: "",
    }));
    return { time: now / 1000, connections, left_out: 0, errors };
  }

  const replaced = {
    Date: FastDate,
    fetch: answer,
    setTimeout: (/** @type {Function} */ call, delay = 0) => schedule(call, delay, false),
    setInterval: (/** @type {Function} */ call, delay = 0) => schedule(call, delay, true),
    clearTimeout: (/** @type {number} */ id) => void timers.delete(id),
    clearInterval: (/** @type {number} */ id) => void timers.delete(id),
    requestAnimationFrame: (/** @type {Function} */ call) => schedule(call, 16, false),
    cancelAnimationFrame: (/** @type {number} */ id) => void timers.delete(id),
  };
  Object.assign(globalThis, replaced);
  performance.now = () => now - begun;
  AbortSignal.timeout = (delay) => {
    const controller = new AbortController();
    schedule(() => controller.abort(new DOMException("too late", "TimeoutError")), delay, false);
    return controller.signal;
  };
  return { run };
})();
