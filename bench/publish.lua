-- wrk's script: one form with a message body of 100 bytes, for ever, unless
-- bench/load.py says otherwise in the environment. wrk itself counts answers
-- that are no 2xx or 3xx; to look at each here would cost as much as all it does,
-- on the broker's core, and the queue is counted as well.
-- The last line it prints is JSON, which bench/load.py reads.

wrk.method = "POST"
wrk.headers["Authorization"] = os.getenv("BENCH_AUTHORIZATION")
wrk.headers["Content-Type"] = os.getenv("BENCH_CONTENT_TYPE")
   or "application/x-www-form-urlencoded"
wrk.headers["Connection"] = os.getenv("BENCH_CONNECTION")
wrk.body = "body=" .. string.rep("0123456789", 10) .. "&content-type=text%2Fplain"

local body_file = os.getenv("BENCH_BODY_FILE")
if body_file then
   wrk.body = assert(io.open(body_file, "rb")):read("*a")
end

local threads = 0
local ports = {} -- of backends: a thread for each
for port in string.gmatch(os.getenv("BENCH_PORTS") or "", "%d+") do
   table.insert(ports, port)
end

function setup(thread)
   threads = threads + 1
   if #ports > 0 then
      thread.addr = wrk.lookup(wrk.host, ports[(threads - 1) % #ports + 1])[1]
   end
end

local paths = {} -- that take turns
for path in string.gmatch(os.getenv("BENCH_PATHS") or "", "%S+") do
   table.insert(paths, path)
end

function init(args)
   requests = {}
   for index, path in ipairs(paths) do
      requests[index] = wrk.format(nil, path)
   end
   turn = 0
end

-- With it wrk asks Lua for each request; without, it sends the same one again.
if #paths > 0 then
   function request()
      turn = turn % #requests + 1
      return requests[turn]
   end
end

local pause = tonumber(os.getenv("BENCH_PAUSE_MS")) or 0
if pause > 0 then
   function delay()
      return math.random(0, 2 * pause) -- else the connections would ask in step
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   local good, bad = summary.requests - errors.status, errors.status
   io.write(string.format(
      '{"seconds": %.6f, "confirmed": %d, "non_204": %d, "p50_ms": %.4f, "p99_ms": %.4f, "p999_ms": %.4f, '
         .. '"connect_errors": %d, "read_errors": %d, "write_errors": %d, "timeouts": %d}\n',
      summary.duration / 1e6, good, bad,
      latency:percentile(50.0) / 1e3, latency:percentile(99.0) / 1e3,
      latency:percentile(99.9) / 1e3,
      errors.connect, errors.read, errors.write, errors.timeout))
end
