<?php
// Publish one message with PHP's curl extension, which sends an array as a multipart form. Such
// a form needs no encoding, and can carry a file.
// Try it with "make run":
//   php examples/publish_multipart.php && make read QUEUE=test
// STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
// (test) name another gateway, user and exchange.

$url = getenv('STATELESSD_URL') ?: 'http://localhost:8000';
$auth = getenv('STATELESSD_AUTH') ?: 'guest:guest';
$exchange = rawurlencode(getenv('STATELESSD_EXCHANGE') ?: 'test');

$message = [
    'body' => json_encode(['order' => 42, 'note' => '50 % more & better']), // or a CURLFile
    'content_type' => 'application/json',
    'message_id' => 'order-42', // the same in each try, so that consumers can drop a copy
    'mandatory' => 'true',
    'headers[source]' => 'shop', // because curl does not take nested arrays
];

/** Publish once. Return null if RabbitMQ has confirmed the message, else the problem document. */
function publish(string $url, string $auth, array $message): ?array
{
    $curl = curl_init($url); // a new one: on a kept connection libcurl may send twice
    curl_setopt_array($curl, [
        CURLOPT_USERPWD => $auth,
        CURLOPT_POSTFIELDS => $message,
        CURLOPT_TIMEOUT => 10,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HEADER => true,
    ]);
    $answer = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    if ($status === 204) {
        return null;
    }
    $size = curl_getinfo($curl, CURLINFO_HEADER_SIZE);
    // Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    $document = json_decode(substr((string) $answer, $size), true);
    $problem = (is_array($document) ? $document : []) + [
        'title' => 'No answer',
        'detail' => curl_error($curl) ?: "the status is $status",
        'outcome' => 'unknown',
        'retryable' => true,
    ];
    preg_match('/^Retry-After: *(\d+)\r$/mi', substr((string) $answer, 0, $size), $found);
    return [...$problem, 'wait' => $found[1] ?? null];
}

$fate = 'Not published';
for ($try = 1; $problem = publish("$url/%2f/$exchange/orders.new", $auth, $message); $try++) {
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
