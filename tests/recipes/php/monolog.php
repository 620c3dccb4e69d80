<?php
// monolog.php URL JSON: logs records, and prints what an application would notice.

require 'Monolog/autoload.php';
require __DIR__ . '/../../../examples/monolog_handler.php';

use App\Log\StatelessdHandler;
use Monolog\Formatter\LineFormatter;
use Monolog\Handler\BufferHandler;
use Monolog\Logger;

$options = json_decode($argv[2], true) + [
    'channel' => 'shop', 'handler' => [], 'buffer' => false, 'format' => null, 'processor' => null, 'throws' => false,
];
$complain = static function (string $what) use ($options) {
    echo "$what\n";
    $options['throws'] && throw new RuntimeException('the error log is full');
};
$handler = new StatelessdHandler($argv[1], 'guest:guest', ...$options['handler'], complain: $complain);
if ($options['format']) {
    $handler->setFormatter(new LineFormatter($options['format']));
}
if ($options['processor']) {
    $handler->pushProcessor(static function ($record) use ($options) {
        $record['message'] === $options['processor'] && throw new DomainException('no such user');
        $record['extra']['user'] = 'mary';
        return $record;
    });
}
$logger = new Logger($options['channel']);
$logger->pushHandler($options['buffer'] ? new BufferHandler($handler) : $handler);
foreach ($options['records'] as [$level, $message, $context]) {
    // JSON has no bytes: here Latin-1 stands for them.
    $logger->log($level, mb_convert_encoding($message, 'ISO-8859-1', 'UTF-8'), $context);
}
$logger->close();
echo "done\n";
