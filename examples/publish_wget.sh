#!/bin/sh
# Publish one message with wget, and read the answer with jq. The body is JSON, and its
# properties are in the query and in request headers.
# Try it with "make run":
#   sh examples/publish_wget.sh && make read QUEUE=test
# STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
# (test) name another gateway, user and exchange.
url=${STATELESSD_URL:-http://localhost:8000}
auth=${STATELESSD_AUTH:-guest:guest}
exchange=${STATELESSD_EXCHANGE:-test} # percent-encoded

# The password is in a file, because everyone can see the arguments of a program.
wgetrc=$(mktemp)
trap 'rm -f "$wgetrc"' EXIT
printf 'user = %s\npassword = %s\n' "${auth%%:*}" "${auth#*:}" >"$wgetrc"

# Without --tries=1, wget tries up to 20 times by itself. --server-response writes lines such
# as "  name: value".
publish() {
  wget --config="$wgetrc" --auth-no-challenge --tries=1 --timeout=10 \
    --quiet --server-response --content-on-error --output-document=- \
    --header='Content-Type: application/json' \
    --header='AMQP-Header-Source: shop' \
    --post-data='{"order": 42, "note": "50 % more & better"}' \
    "$url/%2f/$exchange/orders.new?message_id=order-42&mandatory=true" 2>&1 | tr -d '\r'
}

# The message_id is the same in each try, so that consumers can drop a copy.
fate='Not published'
try=1
while :; do
  answer=$(publish)
  status=$(printf '%s\n' "$answer" | sed -n 's|^  HTTP/[^ ]* \([0-9]*\).*|\1|p')
  retry_after=$(printf '%s\n' "$answer" | sed -n 's|^  [Rr]etry-[Aa]fter: ||p')
  if [ "$status" = 204 ]; then
    echo 'Published.'
    exit 0
  fi

  # Without an answer, or with a proxy's own, nobody knows whether the message arrived.
  problem=$(printf '%s\n' "$answer" | sed '/^  /d' |
    jq -r 'select(.outcome) | "\(.outcome) \(.retryable) \(.title): \(.detail)"' 2>/dev/null)
  # wget does not show the body of a 401.
  [ "$status" != 401 ] || problem='not-published false Unauthorized: check STATELESSD_AUTH'
  read -r outcome retryable reason <<EOF
${problem:-unknown true No answer: ${status:-no connection, or it ended}}
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
