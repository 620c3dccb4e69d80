<?php
// A queue connection for Laravel that puts jobs on RabbitMQ over HTTP, by statelessd. It only
// puts: workers run with the package vladimir-yuldashev/laravel-queue-rabbitmq. It needs PHP 8.1
// or later with curl, and Laravel 8 or later.
// It reads no STATELESSD_URL itself, because Laravel's config/queue.php passes it 'url'. For
// "make run": 'url' => env('STATELESSD_URL', 'http://localhost:8000'), 'username' => 'guest',
// 'password' => 'guest', 'vhost' => '/', 'queue' => 'test'; then: make read QUEUE=test

namespace App\Queue;

use Illuminate\Contracts\Queue\Queue as QueueContract;
use Illuminate\Queue\Connectors\ConnectorInterface;
use Illuminate\Queue\Queue;
use Illuminate\Support\Str;

/**
 * The job is not known to be on the queue.
 *
 * "not-published": it is not. "unknown": perhaps it is; Queue::pushRaw($e->payload, $e->queue)
 * puts the same job there again, with the same message_id.
 */
final class NotConfirmedException extends \RuntimeException
{
    public function __construct(
        string $reason,
        public readonly string $outcome,
        public readonly bool $retryable,
        public readonly string $payload,
        public readonly string $queue,
    ) {
        parent::__construct(($outcome === 'unknown' ? 'Perhaps published: ' : 'Not published: ') . $reason);
    }
}

final class StatelessdConnector implements ConnectorInterface
{
    public function connect(array $config): QueueContract
    {
        return new StatelessdQueue($config);
    }
}

final class StatelessdQueue extends Queue implements QueueContract
{
    private array $settings; // Laravel has a property "config" of its own
    private ?\CurlHandle $curl = null; // kept, and so is its connection

    public function __construct(#[\SensitiveParameter] array $config)
    {
        $this->settings = $config + ['vhost' => '/', 'exchange' => 'amq.default', 'queue' => 'default', 'timeout' => 10];
        $this->dispatchAfterCommit = $config['after_commit'] ?? null;
    }

    public function push($job, $data = '', $queue = null)
    {
        $queue = $queue ?: $this->settings['queue'];
        $options = ['priority' => is_object($job) ? $job->priority ?? null : null];
        return $this->enqueueUsing(
            $job,
            $this->createPayload($job, $queue, $data),
            $queue,
            null,
            fn ($payload, $queue) => $this->pushRaw($payload, $queue, $options),
        );
    }

    /** Put a payload on the queue, and return its id. */
    public function pushRaw($payload, $queue = null, array $options = [])
    {
        $queue = $queue ?: $this->settings['queue'];
        $job = json_decode($payload, true, 512, JSON_THROW_ON_ERROR);
        $id = $job['id'] ?? $job['uuid'];
        $this->publish($queue, [
            'body' => $payload,
            'content_type' => 'application/json',
            'message_id' => $job['uuid'] ?? $id,
            'correlation_id' => $id,
            'priority' => $options['priority'] ?? null,
            'headers' => '{"laravel":{"attempts":0}}',
            'mandatory' => 'true',
        ]);
        return $id;
    }

    public function later($delay, $job, $data = '', $queue = null)
    {
        if ($this->secondsUntil($delay) > 0) {
            throw new \LogicException('statelessd cannot delay a job: dispatch it without delay().');
        }
        return $this->push($job, $data, $queue);
    }

    public function pop($queue = null)
    {
        throw new \LogicException('statelessd only puts jobs on a queue: workers use the connection "rabbitmq".');
    }

    public function size($queue = null)
    {
        throw new \LogicException('statelessd cannot count jobs: use the connection "rabbitmq".');
    }

    // Later versions of Laravel ask for these four.

    public function pendingSize($queue = null)
    {
        return $this->size($queue);
    }

    public function delayedSize($queue = null)
    {
        return $this->size($queue);
    }

    public function reservedSize($queue = null)
    {
        return $this->size($queue);
    }

    public function creationTimeOfOldestPendingJob($queue = null)
    {
        return $this->size($queue);
    }

    protected function createPayloadArray($job, $queue, $data = '')
    {
        // The package for workers takes the job's id from here.
        return parent::createPayloadArray($job, $queue, $data) + ['id' => (string) Str::uuid()];
    }

    /** Try until the job is confirmed, it makes no sense to try again, or the time is up. */
    private function publish(string $queue, array $fields): void
    {
        $deadline = microtime(true) + $this->settings['timeout'];
        $outcome = 'not-published';
        for ($pause = 0.1; ; $pause *= 2) {
            $problem = $this->post($queue, http_build_query($fields), $deadline - microtime(true));
            if ($problem === null) {
                return;
            }
            if ($problem['outcome'] !== 'not-published') {
                $outcome = 'unknown'; // and stays so: a later answer is about the later copy
            }
            $wait = $problem['wait'] ?? $pause * random_int(500, 1000) / 1000;
            if (!$problem['retryable'] || microtime(true) + $wait + 1 > $deadline) {
                $reason = "{$problem['title']}: {$problem['detail']}";
                throw new NotConfirmedException($reason, $outcome, $problem['retryable'], $fields['body'], $queue);
            }
            usleep((int) (1e6 * $wait));
        }
    }

    /** Publish once. Return null if RabbitMQ has confirmed the message, else the problem document. */
    private function post(string $queue, string $form, float $seconds): ?array
    {
        $wait = null;
        $path = array_map('rawurlencode', [$this->settings['vhost'], $this->settings['exchange'], $queue]);
        $this->curl ??= curl_init();
        curl_setopt_array($this->curl, [
            CURLOPT_URL => rtrim($this->settings['url'], '/') . '/' . implode('/', $path),
            CURLOPT_USERPWD => "{$this->settings['username']}:{$this->settings['password']}",
            CURLOPT_TIMEOUT_MS => max(1, (int) ($seconds * 1000)),
            CURLOPT_NOSIGNAL => true,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_HTTPHEADER => [
                'Content-Type: application/x-www-form-urlencoded',
                'Expect:',
                'Prefer: wait=' . max(1, min(60, (int) ($seconds - 0.5))), // so that it answers in time
            ],
            CURLOPT_HEADERFUNCTION => static function ($curl, $line) use (&$wait) {
                if (preg_match('/^Retry-After: *(\d+)\s*$/i', $line, $found)) {
                    $wait = (int) $found[1];
                }
                return strlen($line);
            },
            // If a kept connection ends without an answer, libcurl sends the request again by
            // itself, and two requests can make two messages. It cannot do so with a body that
            // comes from a function.
            CURLOPT_CUSTOMREQUEST => 'POST',
            CURLOPT_UPLOAD => true,
            CURLOPT_INFILESIZE => strlen($form),
            CURLOPT_READFUNCTION => static function ($curl, $file, $length) use (&$form) {
                $part = substr($form, 0, $length);
                $form = substr($form, strlen($part));
                return $part;
            },
        ]);
        $answer = curl_exec($this->curl);
        $status = curl_getinfo($this->curl, CURLINFO_RESPONSE_CODE);
        if ($status === 204) {
            return null;
        }
        // Without an answer, or with a proxy's own, nobody knows whether the message arrived.
        $document = json_decode((string) $answer, true);
        return (is_array($document) ? $document : []) + [
            'title' => 'No answer',
            'detail' => curl_error($this->curl) ?: "the status is $status",
            'outcome' => 'unknown',
            'retryable' => true,
            'wait' => $wait,
        ];
    }
}
