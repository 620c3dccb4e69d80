<?php
// A handler for Monolog 2 or 3 that publishes records over HTTP by statelessd. It never throws,
// and a gateway that does not answer costs "timeout" once in "pause" seconds. It needs PHP 8.0
// or later with curl.
// It reads no STATELESSD_URL, because the application passes it the address. For "make run":
// new StatelessdHandler('http://localhost:8000/%2f/test', 'guest:guest'); then: make read QUEUE=test

namespace App\Log;

use Monolog\Formatter\FormatterInterface;
use Monolog\Formatter\JsonFormatter;
use Monolog\Handler\AbstractHandler;
use Monolog\Handler\FormattableHandlerInterface;
use Monolog\Handler\FormattableHandlerTrait;
use Monolog\Handler\ProcessableHandlerInterface;
use Monolog\Handler\ProcessableHandlerTrait;

final class StatelessdHandler extends AbstractHandler implements FormattableHandlerInterface, ProcessableHandlerInterface
{
    use FormattableHandlerTrait;
    use ProcessableHandlerTrait;

    private ?\CurlHandle $curl = null; // kept, and so is its connection
    private float $pausedUntil = 0;
    private int $dropped = 0;
    /** @var callable(string): mixed */
    private $complain;

    /**
     * $url: where batches go, http://HOST:PORT/VIRTUAL-HOST/EXCHANGE. $auth: USER:PASSWORD.
     * $timeout: the seconds that publishing may take. $pause: the seconds after a failure in
     * which records are dropped. $complain: is told what is lost; by default PHP's error log.
     */
    public function __construct(
        private string $url,
        #[\SensitiveParameter] private string $auth,
        $level = 'debug',
        bool $bubble = true,
        private float $timeout = 2,
        private float $pause = 10,
        ?callable $complain = null,
    ) {
        parent::__construct($level, $bubble);
        $this->complain = $complain ?? 'error_log';
    }

    public function handle($record): bool
    {
        $this->handleBatch([$record]);
        return $this->isHandling($record) && !$this->bubble;
    }

    /** Publish all records with one request. */
    public function handleBatch(array $records): void
    {
        try {
            $lines = array_filter(array_map([$this, 'line'], array_filter($records, [$this, 'isHandling'])));
            if ($lines) {
                $this->publish($lines);
            }
        } catch (\Throwable $e) {
            $this->complain(count($records) . ' log records are not confirmed: ' . $e->getMessage());
        }
    }

    public function reset(): void
    {
        parent::reset();
        $this->resetProcessors();
    }

    public function close(): void
    {
        $this->complainOfDropped();
        $this->curl = null;
        parent::close();
    }

    protected function getDefaultFormatter(): FormatterInterface
    {
        return new JsonFormatter(JsonFormatter::BATCH_MODE_JSON, false);
    }

    /** A record as an item of a batch, or null if a processor or the formatter fails. */
    private function line($record): ?string
    {
        try {
            $record = $this->processors ? $this->processRecord($record) : $record;
            $formatter = $this->getFormatter();
            return json_encode([
                'routing_key' => strtolower("{$record['channel']}.{$record['level_name']}"),
                'body' => (string) $formatter->format($record),
                'content_type' => $formatter instanceof JsonFormatter ? 'application/json' : 'text/plain',
                'timestamp' => $record['datetime']->getTimestamp(),
            ], JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
        } catch (\Throwable $e) {
            $this->complain('1 log record cannot be formatted: ' . $e->getMessage());
            return null;
        }
    }

    private function publish(array $lines): void
    {
        if (microtime(true) < $this->pausedUntil) {
            $this->dropped += count($lines);
            return;
        }
        $this->complainOfDropped();
        $answer = $this->post(implode("\n", $lines));
        $confirmed = $answer['published'] ?? 0;
        if ($confirmed === count($lines)) {
            return;
        }
        if ($confirmed === 0) {
            $this->pausedUntil = microtime(true) + $this->pause;
        }
        $problem = $answer['error'] ?? $answer['failures'][0] ?? $answer;
        $reason = ($problem['title'] ?? 'No answer') . ': ' . ($problem['detail'] ?? 'it is not of a gateway');
        $this->complain(count($lines) - $confirmed . " log records are not confirmed: $reason");
    }

    /** One try, because the application waits: the answer, or what stands for one. */
    private function post(string $body): array
    {
        $this->curl ??= curl_init();
        curl_setopt_array($this->curl, [
            CURLOPT_URL => $this->url,
            CURLOPT_USERPWD => $this->auth,
            CURLOPT_TIMEOUT_MS => max(1, (int) ($this->timeout * 1000)),
            CURLOPT_NOSIGNAL => true,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_HTTPHEADER => [
                'Content-Type: application/x-ndjson',
                'Expect:',
                'Prefer: wait=' . max(1, min(60, (int) ($this->timeout - 0.5))), // so that it answers in time
            ],
            // If a kept connection ends without an answer, libcurl sends the request again by
            // itself, and two requests can make two messages. It cannot do so with a body that
            // comes from a function.
            CURLOPT_CUSTOMREQUEST => 'POST',
            CURLOPT_UPLOAD => true,
            CURLOPT_INFILESIZE => strlen($body),
            CURLOPT_READFUNCTION => static function ($curl, $file, $length) use (&$body) {
                $part = substr($body, 0, $length);
                $body = substr($body, strlen($part));
                return $part;
            },
        ]);
        $answer = json_decode((string) curl_exec($this->curl), true);
        return is_array($answer) ? $answer : array_filter(['detail' => curl_error($this->curl)]);
    }

    private function complainOfDropped(): void
    {
        if ($this->dropped > 0) {
            $this->complain("$this->dropped log records were dropped after a failure");
            $this->dropped = 0;
        }
    }

    private function complain(string $what): void
    {
        try {
            ($this->complain)("statelessd: $what");
        } catch (\Throwable) {
            // The application goes on, whatever becomes of its log.
        }
    }
}
