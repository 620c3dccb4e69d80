<?php
// Publishes what it is told on standard input, a line of JSON each:
// {"id": ..., "url": ..., "user": ..., "form": {...}}; writes {"id", "status", "body"}.
$curl = curl_init();
while (($line = fgets(STDIN)) !== false) {
    $task = json_decode($line, true);
    curl_setopt_array($curl, [
        CURLOPT_URL => $task['url'],
        CURLOPT_USERPWD => $task['user'],
        CURLOPT_POSTFIELDS => $task['form'],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 30,
        // libcurl sends any request once more by itself when a connection that it had
        // kept ends without an answer: then two requests make two messages.
        CURLOPT_FORBID_REUSE => true,
    ]);
    $body = curl_exec($curl);
    echo json_encode([
        'id' => $task['id'],
        'status' => curl_getinfo($curl, CURLINFO_RESPONSE_CODE),
        'refused' => curl_errno($curl) === CURLE_COULDNT_CONNECT,
        'body' => (string) $body,
    ]), "\n";
}
