<?php
// Publish one message as a form, with PHP's curl extension. http_build_query() encodes the form.
// In it, the array 'headers' becomes message headers.
// Try it with "make run":
//   php examples/publish_curl.php && make read QUEUE=test
// STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
// (test) name another gateway, user and exchange.

$url = getenv('STATELESSD_URL') ?: 'http://localhost:8000';
$auth = getenv('STATELESSD_AUTH') ?: 'guest:guest';
$exchange = rawurlencode(getenv('STATELESSD_EXCHANGE') ?: 'test');

$curl = curl_init("$url/%2f/$exchange/orders.new");
curl_setopt_array($curl, [
    CURLOPT_USERPWD => $auth,
    CURLOPT_POSTFIELDS => http_build_query([
        'body' => json_encode(['order' => 42, 'note' => '50 % more & better']),
        'content_type' => 'application/json',
        'message_id' => 'order-42', // the same in each try, so that consumers can drop a copy
        'mandatory' => 'true',
        'headers' => ['source' => 'shop', 'tags' => ['new', 'priority']],
    ]),
    CURLOPT_TIMEOUT => 10,
    CURLOPT_RETURNTRANSFER => true,
    // If a kept connection ends without an answer, libcurl sends the request again by itself,
    // and two requests can make two messages. So close the connection after each request.
    CURLOPT_FORBID_REUSE => true,
]);

/** Publish once. Return null if RabbitMQ has confirmed the message, else the problem document. */
function publish(CurlHandle $curl): ?array
{
    $retryAfter = '';
    curl_setopt($curl, CURLOPT_HEADERFUNCTION, function ($curl, $line) use (&$retryAfter) {
        if (stripos($line, 'Retry-After:') === 0) {
            $retryAfter = trim(substr($line, strlen('Retry-After:')));
        }
        return strlen($line);
    });
    $answer = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    if ($status === 204) {
        return null;
    }
    // Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    $document = json_decode((string) $answer, true);
    $problem = (is_array($document) ? $document : []) + [
        'title' => 'No answer',
        'detail' => curl_error($curl) ?: "the status is $status",
        'outcome' => 'unknown',
        'retryable' => true,
    ];
    return [...$problem, 'wait' => ctype_digit($retryAfter) ? (int) $retryAfter : null];
}

$fate = 'Not published';
for ($try = 1; $problem = publish($curl); $try++) {
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
