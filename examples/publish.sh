#!/bin/sh
# Publish with curl: the original's line, a raw body, and what an answer other than 204 looks like.
set -eu
url=${STATELESSD_URL:-http://localhost:8000}
auth=${STATELESSD_AUTH:-guest:guest}

echo 'A form, as since 2013:'
curl --silent --show-error --user "$auth" --write-out '%{http_code}\n' \
  -d body=hi -d "content-type=text/plain" "$url/test/test/foo"

echo 'Any other body, as it is, with its own Content-Type; properties in the query:'
curl --silent --show-error --user "$auth" --write-out '%{http_code}\n' \
  -H 'Content-Type: application/json' --data-binary '{"order": 42}' \
  "$url/test/test/orders.new?message_id=order-42&mandatory=true"

echo 'Properties and headers of the message as headers of the request:'
curl --silent --show-error --user "$auth" --write-out '%{http_code}\n' \
  -H 'Content-Type: text/plain' -H 'AMQP-App-Id: cron' -H 'AMQP-Header-Attempt: 1' \
  --data-binary 'nightly' "$url/test/test/reports"

echo 'An exchange that does not exist:'
curl --silent --show-error --user "$auth" --write-out '\n%{http_code}\n' \
  -d body=hi "$url/test/no-such-exchange/foo"
