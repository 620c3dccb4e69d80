#!/bin/sh
# Run a command, and publish how it ended: cron-job.sh COMMAND [ARGUMENT]...
# The exit status and the output are the command's, whether publishing succeeds or not.
# It needs curl 7.71 or later.
# Try it with "make run":
#   sh examples/cron-job.sh date && make read QUEUE=test
# STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
# (test) name another gateway, user and exchange.
url=${STATELESSD_URL:-http://localhost:8000}
auth=${STATELESSD_AUTH:-guest:guest}
exchange=${STATELESSD_EXCHANGE:-test} # percent-encoded
patience=${STATELESSD_PATIENCE:-60} # seconds in which it tries again

if [ $# = 0 ]; then
  echo "usage: $0 COMMAND [ARGUMENT]..." >&2
  exit 64
fi

# The job matters more than the report about it.
directory=$(mktemp -d) || exec "$@"
trap 'rm -rf "$directory"' EXIT
trap : HUP INT TERM # they end the command, and this script reports it

# Print standard input as a JSON string in ASCII. What is not UTF-8 becomes U+FFFD.
json() {
  od -An -v -tu1 | LC_ALL=C awk '
    function unit(code) { printf "\\u%04x", code }
    function character(code) {
      if (code >= 65536) {
        unit(55296 + int((code - 65536) / 1024))
        unit(56320 + code % 1024)
      } else if (code < 32 || code > 126) unit(code)
      else if (code == 34 || code == 92) printf "\\%c", code
      else printf "%c", code
    }
    function broken() {
      if (missing) unit(65533)
      missing = 0
    }
    BEGIN { printf "\"" }
    {
      for (i = 1; i <= NF; i++) {
        byte = $i + 0
        if (missing && byte >= low && byte <= high) {
          code = code * 64 + byte - 128
          low = 128; high = 191
          if (--missing == 0) character(code)
          continue
        }
        broken()
        # RFC 3629, section 4: which bytes may come second depends on the first.
        low = byte == 224 ? 160 : byte == 240 ? 144 : 128
        high = byte == 237 ? 159 : byte == 244 ? 143 : 191
        if (byte < 128) character(byte)
        else if (byte < 194 || byte > 244) unit(65533)
        else if (byte < 224) { missing = 1; code = byte - 192 }
        else if (byte < 240) { missing = 2; code = byte - 224 }
        else { missing = 3; code = byte - 240 }
      }
    }
    END { broken(); printf "\"" }'
}

started=$(date +%s)
"$@" >"$directory/output" 2>&1
status=$?
ended=$(date +%s)
cat "$directory/output"

cat >"$directory/report" <<EOF
{
  "command": $(printf %s "$*" | json),
  "host": $(uname -n | tr -d '\n' | json),
  "status": $status,
  "started": $started,
  "seconds": $((ended - started)),
  "output": $(tail -n 50 "$directory/output" | tail -c 10000 | json)
}
EOF

# curl tries again after 408, 429, 500 and 502 to 504, after as long as Retry-After says, and
# when the connection fails. It is the same request: so consumers can drop a second copy by
# its message_id. The password comes on standard input because arguments are seen in ps.
ending=failed
[ "$status" = 0 ] && ending=ok
answered=$(printf 'user = "%s"\n' "$(printf %s "$auth" | sed 's/[\\"]/\\&/g')" |
  curl --config - --silent --show-error --output "$directory/answer" \
    --max-time 10 --retry 5 --retry-max-time "$patience" --retry-all-errors \
    --data-urlencode "body@$directory/report" \
    --data content_type=application/json \
    --data "message_id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" \
    --write-out '%{http_code}' \
    "$url/%2f/$exchange/cron.$ending" 2>"$directory/errors")
if [ "$answered" != 204 ]; then
  echo "cron-job.sh: the report is not confirmed: ${answered:-no curl}" >&2
  cat "$directory/errors" "$directory/answer" >&2 2>/dev/null
fi
exit "$status"
