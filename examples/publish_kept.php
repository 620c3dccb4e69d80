<?php
// Publish over a connection that stays open, with PHP's curl extension. The body is JSON, and its
// properties are in the query and in request headers.
// Try it with "make run":
//   php examples/publish_kept.php && make read QUEUE=test
// STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
// (test) name another gateway, user and exchange. STATELESSD_SOCKET is the path of a Unix socket
// of the gateway.

$url = getenv('STATELESSD_URL') ?: 'http://localhost:8000';
$auth = getenv('STATELESSD_AUTH') ?: 'guest:guest';
$exchange = rawurlencode(getenv('STATELESSD_EXCHANGE') ?: 'test');
$socket = getenv('STATELESSD_SOCKET');

$query = http_build_query([
    'message_id' => 'order-42', // the same in each try, so that consumers can drop a copy
    'mandatory' => 'true',
]);
$body = json_encode(['order' => 42, 'note' => '50 % more & better']);

$curl = curl_init("$url/%2f/$exchange/orders.new?$query"); // keep it for the next message
curl_setopt_array($curl, [
    CURLOPT_USERPWD => $auth,
    CURLOPT_HTTPHEADER => [
        'Content-Type: application/json',
        'AMQP-Header-Source: shop',
        'Prefer: wait=5', // seconds that the gateway may take
        'Expect:', // send the body at once, whatever its size
    ],
    CURLOPT_CONNECTTIMEOUT => 2,
    CURLOPT_TIMEOUT => 7, // longer than the gateway takes, so that its answer arrives
    CURLOPT_MAXAGE_CONN => 60, // less than the 75 seconds after which the gateway closes it
    CURLOPT_RETURNTRANSFER => true,
]);
if ($socket) {
    curl_setopt($curl, CURLOPT_UNIX_SOCKET_PATH, $socket);
}
if (function_exists('curl_share_init_persistent')) { // PHP 8.5 or later
    curl_setopt($curl, CURLOPT_SHARE, curl_share_init_persistent([CURL_LOCK_DATA_CONNECT]));
}

/** Publish once. Return null if RabbitMQ has confirmed the message, else the problem document. */
function publish(CurlHandle $curl, string $body): ?array
{
    $retryAfter = '';
    $sent = 0;
    curl_setopt_array($curl, [
        CURLOPT_HEADERFUNCTION => function ($curl, $line) use (&$retryAfter) {
            if (stripos($line, 'Retry-After:') === 0) {
                $retryAfter = trim(substr($line, strlen('Retry-After:')));
            }
            return strlen($line);
        },
        // If a kept connection ends without an answer, libcurl sends the request again by itself,
        // and two requests can make two messages. It cannot do so with a body that comes from a
        // function.
        CURLOPT_CUSTOMREQUEST => 'POST',
        CURLOPT_UPLOAD => true,
        CURLOPT_INFILESIZE => strlen($body),
        CURLOPT_READFUNCTION => function ($curl, $file, $length) use ($body, &$sent) {
            $part = substr($body, $sent, $length);
            $sent += strlen($part);
            return $part;
        },
    ]);
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
for ($try = 1; $problem = publish($curl, $body); $try++) {
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
