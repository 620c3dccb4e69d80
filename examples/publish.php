<?php
// Publish with PHP's curl extension: http_build_query() makes an urlencoded form, in which
// nested arrays become message headers. (An array given as it is makes a multipart form:
// see original.php.)

$url = getenv('STATELESSD_URL') ?: 'http://localhost:8000';

$message = [
    'body' => json_encode(['order' => 42, 'note' => "50 % more & <b>better</b>"]),
    'content_type' => 'application/json',
    'message_id' => 'order-42',
    'mandatory' => 'true',
    'headers' => [
        'source' => 'shop',
        'trace' => ['parent' => 'abc', 'sampled' => '1'],
        'tags' => ['new', 'priority'],
    ],
];

$curl = curl_init("$url/%2f/test/orders.new");
curl_setopt_array($curl, [
    CURLOPT_POST => true,
    CURLOPT_POSTFIELDS => http_build_query($message),
    CURLOPT_USERPWD => 'guest:guest',
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 10,
]);

$answer = curl_exec($curl);
$status = curl_getinfo($curl, CURLINFO_HTTP_CODE);

if ($status === 204) {
    echo "Published: the broker has confirmed it.\n";
    exit(0);
}
if ($answer === false) {
    echo 'No answer: ' . curl_error($curl) . "\n";
    exit(1);
}
// Every other answer is a problem document (RFC 9457).
$problem = json_decode($answer, true);
echo "Not confirmed: {$problem['title']}: {$problem['detail']}\n";
echo "Outcome: {$problem['outcome']}\n";
exit($problem['retryable'] ? 75 : 1);
