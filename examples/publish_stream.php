<?php
// Publish one message with PHP's streams, without the curl extension. The body is JSON, and its
// properties are in the query and in request headers.
// Try it with "make run":
//   php examples/publish_stream.php && make read QUEUE=test
// STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
// (test) name another gateway, user and exchange.

$url = getenv('STATELESSD_URL') ?: 'http://localhost:8000';
$auth = getenv('STATELESSD_AUTH') ?: 'guest:guest';
$exchange = rawurlencode(getenv('STATELESSD_EXCHANGE') ?: 'test');

$query = http_build_query([
    'message_id' => 'order-42', // the same in each try, so that consumers can drop a copy
    'mandatory' => 'true',
]);
$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => [
        'Authorization: Basic ' . base64_encode($auth),
        'Content-Type: application/json',
        'AMQP-Header-Source: shop',
    ],
    'content' => json_encode(['order' => 42, 'note' => '50 % more & better']),
    'timeout' => 10,
    'ignore_errors' => true, // without it PHP drops the problem document
]]);

/** Publish once. Return null if RabbitMQ has confirmed the message, else the problem document. */
function publish(string $url, $context): ?array
{
    $stream = @fopen($url, 'r', false, $context);
    $fields = $stream ? stream_get_meta_data($stream)['wrapper_data'] : [];
    $status = $fields[0] ?? 'no connection, or it ended';
    if (preg_match('/^HTTP\S+ 204/', $status)) {
        return null;
    }
    // Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    $document = json_decode($stream ? stream_get_contents($stream) : '', true);
    $problem = (is_array($document) ? $document : []) + [
        'title' => 'No answer',
        'detail' => $status,
        'outcome' => 'unknown',
        'retryable' => true,
    ];
    $found = preg_grep('/^Retry-After: *\d+$/i', $fields);
    return [...$problem, 'wait' => $found ? (int) explode(':', end($found))[1] : null];
}

$fate = 'Not published';
for ($try = 1; $problem = publish("$url/%2f/$exchange/orders.new?$query", $context); $try++) {
    if ($problem['outcome'] !== 'not-published') {
        $fate = 'Perhaps published';
    }
    if (!$problem['retryable'] || $try === 5) {
        echo "$fate: {$problem['title']}: {$problem['detail']}\n";
        exit($problem['retryable'] ? 75 : 1);
    }
    // Wait as long as Retry-After says, else 0.1 to 0.2 seconds, doubled after each try.
    usleep((int) (1e6 * ($problem['wait'] ?? random_int(50, 100) / 1000 * 2 ** $try)));
}
echo "Published.\n";
