-- wrk's script: one form with a message body of 100 bytes, for ever; every
-- answer's status is looked at, for wrk itself takes any 2xx or 3xx for good.
-- The last line it prints is JSON, which bench/load.py reads.

wrk.method = "POST"
wrk.headers["Authorization"] = os.getenv("BENCH_AUTHORIZATION")
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "body=" .. string.rep("0123456789", 10) .. "&content-type=text%2Fplain"

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   confirmed = 0
   refused = 0
end

function response(status)
   if status == 204 then
      confirmed = confirmed + 1
   else
      refused = refused + 1
   end
end

function done(summary, latency, requests)
   local good, bad = 0, 0
   for _, thread in ipairs(threads) do
      good = good + thread:get("confirmed")
      bad = bad + thread:get("refused")
   end
   local errors = summary.errors
   io.write(string.format(
      '{"seconds": %.6f, "confirmed": %d, "non_204": %d, "p50_ms": %.4f, "p99_ms": %.4f, '
         .. '"connect_errors": %d, "read_errors": %d, "write_errors": %d, "timeouts": %d}\n',
      summary.duration / 1e6, good, bad,
      latency:percentile(50.0) / 1e3, latency:percentile(99.0) / 1e3,
      errors.connect, errors.read, errors.write, errors.timeout))
end
