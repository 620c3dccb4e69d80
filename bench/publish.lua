-- The script of wrk: one form with a message body of 100 bytes, for ever, unless bench/load.py
-- says otherwise in the environment. wrk itself counts the answers that are not 2xx or 3xx.
-- Looking at each answer here would cost as much as all of wrk's work, on the broker's core,
-- and the queue is counted as well. The last line of output is JSON, which bench/load.py reads.

wrk.method = "POST"
wrk.headers["Authorization"] = os.getenv("BENCH_AUTHORIZATION")
wrk.headers["Content-Type"] = os.getenv("BENCH_CONTENT_TYPE")
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

local turns = {} -- a path and a login each
for path, login in string.gmatch(os.getenv("BENCH_TURNS") or "", "(%S+) (%S+)") do
   table.insert(turns, { path = path, login = login })
end

function init(args)
   requests = {}
   for index, turn in ipairs(turns) do
      wrk.headers["Authorization"] = "Basic " .. turn.login
      requests[index] = wrk.format(nil, turn.path)
   end
   turn = 0
end

-- With it wrk asks Lua for each request; without, it sends the same one again.
if #turns > 0 then
   function request()
      turn = turn % #requests + 1
      return requests[turn]
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"seconds": %.6f, "confirmed": %d, "non_204": %d, "socket_errors": %d, '
         .. '"p50_ms": %.4f, "p99_ms": %.4f}\n',
      summary.duration / 1e6, summary.requests - errors.status, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50.0) / 1e3, latency:percentile(99.0) / 1e3))
end
