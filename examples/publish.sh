#!/bin/sh
# Publish one message as a form with curl (7.84 or later), and read the answer with jq.
# Try it with "make run":
#   sh examples/publish.sh && make read QUEUE=test
# STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
# (test) name another gateway, user and exchange.
url=${STATELESSD_URL:-http://localhost:8000}
auth=${STATELESSD_AUTH:-guest:guest}
exchange=${STATELESSD_EXCHANGE:-test} # percent-encoded
newline='
'

# --data-urlencode, because with -d a "+" or "&" of the message would not arrive as such.
publish() {
  curl --silent --show-error --max-time 10 --user "$auth" \
    --data-urlencode 'body={"order": 42, "note": "50 % more & better"}' \
    --data content_type=application/json \
    --data message_id=order-42 \
    --data mandatory=true \
    --data-urlencode 'headers={"source": "shop"}' \
    --write-out '\n%{http_code} %header{retry-after}' \
    "$url/%2f/$exchange/orders.new"
}

# The message_id is the same in each try, so that consumers can drop a copy.
fate='Not published'
try=1
while :; do
  answer=$(publish)
  read -r status retry_after <<EOF
${answer##*"$newline"}
EOF
  if [ "$status" = 204 ]; then
    echo 'Published.'
    exit 0
  fi

  # Without an answer, or with a proxy's own, nobody knows whether the message arrived.
  problem=$(printf '%s' "${answer%"$newline"*}" |
    jq -r 'select(.outcome) | "\(.outcome) \(.retryable) \(.title): \(.detail)"' 2>/dev/null)
  read -r outcome retryable reason <<EOF
${problem:-unknown true No answer: the status is $status}
EOF

  [ "$outcome" = not-published ] || fate='Perhaps published'
  if [ "$retryable" != true ] || [ "$try" = 5 ]; then
    echo "$fate: $reason"
    [ "$retryable" = true ] && exit 75
    exit 1
  fi
  case $retry_after in
    '' | *[!0-9]*) # 0.1 to 0.2 seconds, doubled after each try
      sleep "$(shuf -n 1 -i "$((50 << try))-$((100 << try))")e-3" ;;
    *) sleep "$retry_after" ;;
  esac
  try=$((try + 1))
done
