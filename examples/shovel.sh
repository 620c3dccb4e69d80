#!/bin/sh
# Keep publishing while the central broker is away: shovel.sh EXCHANGE [TYPE]
#
# Run it once for each exchange, on the host of the local RabbitMQ. There it makes an exchange
# of that name and a durable queue behind it. It also makes a shovel, which publishes the
# messages of the queue to the exchange of the same name at the central broker. Running it
# again changes the shovel.
#
# It sets RabbitMQ up and does not ask a gateway, so it does not read STATELESSD_URL. It does not
# work with the private RabbitMQ of "make run": it uses the rabbitmqctl of the installed one.
set -eu
if [ $# = 0 ] || [ $# -gt 2 ]; then
  echo "usage: CENTRAL_URI=amqps://USER:PASSWORD@HOST/%2f $0 EXCHANGE [topic|fanout]" >&2
  exit 64
fi
exchange=$1   # letters, digits, dots, dashes and underscores
type=${2:-topic}
central=${CENTRAL_URI:?such as amqps://shovel:PASSWORD@rabbitmq.example.com/%2f?heartbeat=10}
queue=shovel.$exchange

# A topic exchange takes "#" as every key. A fanout exchange ignores the key.
case $type in topic | fanout) ;; *) echo "shovel.sh: TYPE is topic or fanout" >&2; exit 2 ;; esac

rabbitmq-plugins --quiet enable rabbitmq_shovel > /dev/null

# A classic queue, because a quorum queue counts a message's deliveries, and by RabbitMQ 4's
# default drops it after twenty. RabbitMQ before 3.12 keeps a lazy queue's backlog on disk; later
# ones always do. Beyond 10 GB the queue refuses, and the gateway's answer is a 503.
definitions=$(mktemp)
trap 'rm -f "$definitions"' EXIT
chmod 644 "$definitions" # rabbitmqctl reads it as the user rabbitmq
cat > "$definitions" <<END
{
  "exchanges": [{"name": "$exchange", "vhost": "/", "type": "$type", "durable": true,
                 "auto_delete": false, "internal": false, "arguments": {}}],
  "queues": [{"name": "$queue", "vhost": "/", "durable": true, "auto_delete": false,
              "arguments": {"x-queue-type": "classic", "x-queue-mode": "lazy",
                            "x-max-length-bytes": ${MAX_BYTES:-10000000000},
                            "x-overflow": "reject-publish"}}],
  "bindings": [{"source": "$exchange", "vhost": "/", "destination": "$queue",
                "destination_type": "queue", "routing_key": "#", "arguments": {}}]
}
END
rabbitmqctl --quiet import_definitions "$definitions"

# on-confirm: a message leaves the local queue when the central broker has confirmed it.
# Without dest-exchange-key each message keeps its own routing key, and without
# dest-publish-properties and dest-add-forward-headers its properties and headers.
rabbitmqctl --quiet set_parameter shovel "$exchange" "{
  \"src-protocol\": \"amqp091\", \"src-uri\": \"amqp:///%2f\", \"src-queue\": \"$queue\",
  \"src-prefetch-count\": 1000, \"src-delete-after\": \"never\",
  \"dest-protocol\": \"amqp091\", \"dest-uri\": \"$central\", \"dest-exchange\": \"$exchange\",
  \"ack-mode\": \"on-confirm\", \"reconnect-delay\": 5
}"
