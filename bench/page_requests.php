<?php
// php page_requests.php WAY SECONDS AMQP_PORT URL
//
// One PHP process: says that it is ready, waits for a line on its standard input, and then serves
// page request after page request for SECONDS, each of which publishes one message, waits for its
// confirm, and leaves nothing open. Prints a JSON object: the milliseconds of each, and how many
// failed.

[, $way, $seconds, $port, $url] = $argv;
const MESSAGE = '0123456789012345678901234567890123456789'
    . '012345678901234567890123456789012345678901234567890123456789';

function with_curl(int $port, string $url): bool
{
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_USERPWD => 'bench:bench',
        CURLOPT_POSTFIELDS => http_build_query(
            ['body' => MESSAGE, 'content_type' => 'text/plain'],
        ),
        CURLOPT_TIMEOUT => 10,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_FORBID_REUSE => true,
    ]);
    curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    curl_close($curl);
    return $status === 204;
}

function with_php_amqplib(int $port, string $url): bool
{
    $connection = new PhpAmqpLib\Connection\AMQPStreamConnection(
        '127.0.0.1', $port, 'bench', 'bench', 'test',
    );
    $channel = $connection->channel();
    $confirmed = false;
    $channel->set_ack_handler(function () use (&$confirmed) { $confirmed = true; });
    $channel->confirm_select();
    $channel->basic_publish(new PhpAmqpLib\Message\AMQPMessage(MESSAGE, [
        'content_type' => 'text/plain',
        'delivery_mode' => PhpAmqpLib\Message\AMQPMessage::DELIVERY_MODE_PERSISTENT,
    ]), 'bench', 'bench.message');
    $channel->wait_for_pending_acks(10);
    $channel->close();
    $connection->close();
    return $confirmed;
}

function with_php_amqp(int $port, string $url): bool
{
    $connection = new AMQPConnection([
        'host' => '127.0.0.1', 'port' => $port, 'vhost' => 'test',
        'login' => 'bench', 'password' => 'bench',
    ]);
    $connection->connect();
    $channel = new AMQPChannel($connection);
    $confirmed = false;
    $channel->confirmSelect();
    $channel->setConfirmCallback(
        function () use (&$confirmed) { $confirmed = true; return false; },
        fn () => false,
    );
    $exchange = new AMQPExchange($channel);
    $exchange->setName('bench');
    $exchange->publish(MESSAGE, 'bench.message', AMQP_NOPARAM, [
        'content_type' => 'text/plain', 'delivery_mode' => 2,
    ]);
    $channel->waitForConfirm(10);
    $channel->close();
    $connection->disconnect();
    return $confirmed;
}

if ($way === 'php_amqplib') {
    require 'PhpAmqpLib/autoload.php';
}
$publish = "with_$way";
$times = [];
$failed = 0;
echo "ready\n";
if (fgets(STDIN) === false) {
    exit(1); // whoever started it has ended
}
$end = microtime(true) + (float) $seconds;
while (microtime(true) < $end) {
    $before = hrtime(true);
    try {
        $published = $publish((int) $port, $url);
    } catch (Exception $error) {
        fwrite(STDERR, get_class($error) . ": {$error->getMessage()}\n");
        $published = false;
    }
    if ($published) {
        $times[] = (hrtime(true) - $before) / 1e6;
    } else {
        $failed++;
    }
}
echo json_encode(['milliseconds' => $times, 'failed' => $failed]), "\n";
