<?php
// Publish one message with PHP alone, without the curl extension: the body as it is, its
// properties in the query and in headers of the request.
// With "make run" it works as it is:
//   php examples/publish_stream.php && make read QUEUE=test
// STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
// (test) name another gateway, user and exchange.

$url = getenv('STATELESSD_URL') ?: 'http://localhost:8000';
$auth = getenv('STATELESSD_AUTH') ?: 'guest:guest';
$exchange = rawurlencode(getenv('STATELESSD_EXCHANGE') ?: 'test');

$query = http_build_query([
    'message_id' => 'order-42', // the same in every try: so consumers can drop a second copy
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
    'ignore_errors' => true, // without it PHP throws the problem document away
]]);

/** One try: null when the broker has confirmed the message, else the problem document. */
function publish(string $url, $context): ?array
{
    $answer = @file_get_contents($url, false, $context);
    $status = $http_response_header[0] ?? 'no connection, or it ended'; // set by PHP
    if (preg_match('/^HTTP\S+ 204/', $status)) {
        return null;
    }
    // No answer, or a proxy's own: then nobody knows whether the message got through.
    $document = json_decode((string) $answer, true);
    $problem = (is_array($document) ? $document : []) + [
        'title' => 'No answer',
        'detail' => $status,
        'outcome' => 'unknown',
        'retryable' => true,
    ];
    $found = preg_grep('/^Retry-After: *\d+$/i', $http_response_header ?? []);
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
    // 0.1 to 0.2 seconds, doubled with every try, unless the answer says how long.
    usleep((int) (1e6 * ($problem['wait'] ?? random_int(50, 100) / 1000 * 2 ** $try)));
}
echo "Published.\n";
