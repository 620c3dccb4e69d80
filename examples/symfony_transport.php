<?php
// A transport for Symfony Messenger that sends over HTTP to statelessd. It only sends: workers
// consume with Symfony's own AMQP transport. It needs PHP 8.1 or later with curl, and Messenger
// 5.4 or later.
// It reads no STATELESSD_URL, because Messenger passes it a DSN. For "make run":
// STATELESSD_DSN=statelessd://guest:guest@localhost:8000/%2f/test/orders.new
// and then: make read QUEUE=test

namespace App\Messenger;

use Symfony\Component\Messenger\Bridge\Amqp\Transport\AmqpStamp;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Exception\InvalidArgumentException;
use Symfony\Component\Messenger\Exception\LogicException;
use Symfony\Component\Messenger\Exception\TransportException;
use Symfony\Component\Messenger\Stamp\DelayStamp;
use Symfony\Component\Messenger\Stamp\NonSendableStampInterface;
use Symfony\Component\Messenger\Stamp\TransportMessageIdStamp;
use Symfony\Component\Messenger\Transport\Serialization\SerializerInterface;
use Symfony\Component\Messenger\Transport\TransportFactoryInterface;
use Symfony\Component\Messenger\Transport\TransportInterface;

/** The AMQP message_id to send a message with. Without this stamp it is a random one. */
final class MessageIdStamp implements NonSendableStampInterface
{
    public function __construct(public readonly string $id)
    {
    }
}

/**
 * The message is not known to be published.
 *
 * "not-published": it is not. "unknown": perhaps it is; to send it again, dispatch it with
 * new MessageIdStamp($e->messageId), so that consumers can drop a second copy.
 */
final class NotConfirmedException extends TransportException
{
    public function __construct(
        string $reason,
        public readonly string $outcome,
        public readonly bool $retryable,
        public readonly string $messageId,
    ) {
        parent::__construct(($outcome === 'unknown' ? 'Perhaps published: ' : 'Not published: ') . $reason);
    }
}

/** statelessd://USER:PASSWORD@HOST:PORT/VIRTUAL-HOST/EXCHANGE/ROUTING-KEY?timeout=SECONDS&mandatory=1 */
final class StatelessdTransportFactory implements TransportFactoryInterface
{
    public function supports(#[\SensitiveParameter] string $dsn, array $options): bool
    {
        return preg_match('~^statelessds?://~', $dsn) === 1;
    }

    public function createTransport(
        #[\SensitiveParameter] string $dsn,
        array $options,
        SerializerInterface $serializer,
    ): TransportInterface {
        $url = parse_url($dsn);
        $path = explode('/', $url['path'] ?? '');
        if (!isset($url['user'], $url['pass']) || count($path) !== 4) {
            throw new InvalidArgumentException(
                'A DSN of statelessd is statelessd://USER:PASSWORD@HOST:PORT/VIRTUAL-HOST/EXCHANGE/ROUTING-KEY.'
            );
        }
        parse_str($url['query'] ?? '', $query);
        unset($options['transport_name']); // which Symfony adds
        $options = $query + $options;
        if ($unknown = array_diff_key($options, ['timeout' => 0, 'mandatory' => 0])) {
            throw new InvalidArgumentException('Unknown options of statelessd: ' . implode(', ', array_keys($unknown)));
        }
        $scheme = $url['scheme'] === 'statelessds' ? 'https' : 'http';
        return new StatelessdTransport(
            "$scheme://{$url['host']}:" . ($url['port'] ?? ($scheme === 'https' ? 443 : 8000)) . "/$path[1]/$path[2]/",
            rawurldecode($path[3]),
            rawurldecode($url['user']) . ':' . rawurldecode($url['pass']),
            (float) ($options['timeout'] ?? 10),
            filter_var($options['mandatory'] ?? true, FILTER_VALIDATE_BOOL),
            $serializer,
        );
    }
}

final class StatelessdTransport implements TransportInterface
{
    private ?\CurlHandle $curl = null; // kept, and so is its connection

    /** $timeout: the seconds that send() may take, tries and waits between them together. */
    public function __construct(
        private string $url,
        private string $routingKey,
        #[\SensitiveParameter] private string $auth,
        private float $timeout,
        private bool $mandatory,
        private SerializerInterface $serializer,
    ) {
    }

    public function send(Envelope $envelope): Envelope
    {
        if ($envelope->last(DelayStamp::class)?->getDelay() > 0) {
            throw new LogicException('statelessd cannot delay a message: send it without DelayStamp.');
        }
        $stamp = $envelope->last(AmqpStamp::class);
        if ($stamp?->getFlags()) {
            throw new LogicException('statelessd takes no flags of AmqpStamp: use the option "mandatory".');
        }
        $encoded = $this->serializer->encode($envelope);
        $headers = $encoded['headers'] ?? [];
        $fields = array_filter($stamp?->getAttributes() ?? [], static fn ($value) => $value !== null) + [
            'content_type' => $headers['Content-Type'] ?? null,
            'message_id' => $envelope->last(MessageIdStamp::class)?->id ?? bin2hex(random_bytes(16)),
            'timestamp' => time(),
            'mandatory' => $this->mandatory ? 'true' : 'false',
        ];
        unset($headers['Content-Type']);
        $headers += $fields['headers'] ?? [];
        $fields['headers'] = json_encode((object) $headers, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION);
        $fields['body'] = $encoded['body'];
        $this->publish(rawurlencode($stamp?->getRoutingKey() ?? $this->routingKey), $fields);
        return $envelope->with(new TransportMessageIdStamp($fields['message_id']));
    }

    public function get(): iterable
    {
        throw new LogicException('statelessd only sends: consume with an amqp:// transport.');
    }

    public function ack(Envelope $envelope): void
    {
        $this->get();
    }

    public function reject(Envelope $envelope): void
    {
        $this->get();
    }

    /** Try until the message is confirmed, it makes no sense to try again, or the time is up. */
    private function publish(string $path, array $fields): void
    {
        $deadline = microtime(true) + $this->timeout;
        $outcome = 'not-published';
        for ($pause = 0.1; ; $pause *= 2) {
            $problem = $this->post($path, http_build_query($fields), $deadline - microtime(true));
            if ($problem === null) {
                return;
            }
            if ($problem['outcome'] !== 'not-published') {
                $outcome = 'unknown'; // and stays so: a later answer is about the later copy
            }
            $wait = $problem['wait'] ?? $pause * random_int(500, 1000) / 1000;
            if (!$problem['retryable'] || microtime(true) + $wait + 1 > $deadline) {
                $reason = "{$problem['title']}: {$problem['detail']}";
                throw new NotConfirmedException($reason, $outcome, $problem['retryable'], $fields['message_id']);
            }
            usleep((int) (1e6 * $wait));
        }
    }

    /** Publish once. Return null if RabbitMQ has confirmed the message, else the problem document. */
    private function post(string $path, string $form, float $seconds): ?array
    {
        $wait = null;
        $this->curl ??= curl_init();
        curl_setopt_array($this->curl, [
            CURLOPT_URL => $this->url . $path,
            CURLOPT_USERPWD => $this->auth,
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
