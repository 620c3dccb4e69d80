#!/bin/sh
# Start a Celery task with curl (7.76 or later): celery_task.sh TASK [ARGUMENTS [KEYWORDS]]
# The arguments are a JSON array, and the keyword arguments a JSON object.
# With "make run", whose queue is not a worker's, see what it sends:
#   CELERY_QUEUE=test sh examples/celery_task.sh shop.send_receipt && make read QUEUE=test
# STATELESSD_URL (http://localhost:8000) and STATELESSD_AUTH (guest:guest) name another gateway
# and user.
set -eu
if [ $# = 0 ] || [ $# -gt 3 ]; then
  echo "usage: $0 TASK [ARGUMENTS [KEYWORDS]]" >&2
  exit 64
fi
url=${STATELESSD_URL:-http://localhost:8000}
auth=${STATELESSD_AUTH:-guest:guest}
queue=${CELERY_QUEUE:-celery} # percent-encoded

task=$1
arguments=${2:-[]}
keywords=${3:-"{}"}
# The same in each try. After a failure run it again with this id in TASK_ID.
id=${TASK_ID:-$(cat /proc/sys/kernel/random/uuid)}
# For a task that is to start later, such as COUNTDOWN=60 seconds.
eta=${COUNTDOWN:+$(date --utc --date "+$COUNTDOWN seconds" +%Y-%m-%dT%H:%M:%S.%6N+00:00)}

set -- --data-urlencode "body=[$arguments, $keywords, {}]" \
  --data content_type=application/json \
  --data content_encoding=utf-8 \
  --data-urlencode "correlation_id=$id" \
  --data-urlencode "message_id=$id" \
  --data mandatory=true \
  --data 'headers[lang]=py' \
  --data-urlencode "headers[task]=$task" \
  --data-urlencode "headers[id]=$id" \
  --data-urlencode "headers[root_id]=$id"
[ -z "$eta" ] || set -- "$@" --data-urlencode "headers[eta]=$eta"
# curl tries again, after the seconds of Retry-After, when nobody listens or answers in time
# and after a 408, 429, 502, 503 or 504. A problem document tells more, on standard error.
curl --silent --show-error --fail-with-body --max-time 10 --retry 4 --retry-connrefused \
  --user "$auth" "$@" "$url/%2f/$queue/$queue" >&2
echo "$id"
