<?php
// A Symfony application without its kernel: a bus that sends, and a worker that consumes.
// symfony.php send DSN JSON: dispatches the messages, and prints what became of each as a line.
// symfony.php consume DSN JSON: handles that many messages, and prints each as a line.

require 'Symfony/Component/Messenger/autoload.php';
require 'Symfony/Component/EventDispatcher/autoload.php';
require 'Symfony/Component/Serializer/autoload.php';
require 'Symfony/Component/PropertyAccess/autoload.php';
require __DIR__ . '/../../../examples/symfony_transport.php';

use App\Messenger\MessageIdStamp;
use App\Messenger\NotConfirmedException;
use App\Messenger\StatelessdTransportFactory;
use Psr\Container\ContainerInterface;
use Symfony\Component\EventDispatcher\EventDispatcher;
use Symfony\Component\Messenger\Bridge\Amqp\Transport\AmqpReceivedStamp;
use Symfony\Component\Messenger\Bridge\Amqp\Transport\AmqpStamp;
use Symfony\Component\Messenger\Bridge\Amqp\Transport\AmqpTransportFactory;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\EventListener\StopWorkerOnMessageLimitListener;
use Symfony\Component\Messenger\Handler\HandlersLocator;
use Symfony\Component\Messenger\MessageBus;
use Symfony\Component\Messenger\Middleware\HandleMessageMiddleware;
use Symfony\Component\Messenger\Middleware\SendMessageMiddleware;
use Symfony\Component\Messenger\Stamp\BusNameStamp;
use Symfony\Component\Messenger\Stamp\DelayStamp;
use Symfony\Component\Messenger\Stamp\TransportMessageIdStamp;
use Symfony\Component\Messenger\Transport\Sender\SendersLocator;
use Symfony\Component\Messenger\Transport\Serialization\PhpSerializer;
use Symfony\Component\Messenger\Transport\Serialization\Serializer;
use Symfony\Component\Messenger\Worker;
use Symfony\Component\Serializer\Encoder\JsonEncoder;
use Symfony\Component\Serializer\Normalizer\ArrayDenormalizer;
use Symfony\Component\Serializer\Normalizer\ObjectNormalizer;

final class Order
{
    public function __construct(public int $number, public string $note)
    {
    }
}

final class Transports implements ContainerInterface
{
    public function __construct(private array $all)
    {
    }

    public function get(string $id)
    {
        return $this->all[$id];
    }

    public function has(string $id): bool
    {
        return isset($this->all[$id]);
    }
}

function say(array $what): void
{
    echo json_encode($what, JSON_THROW_ON_ERROR), "\n";
}

function json(): Serializer
{
    $normalizers = [new ArrayDenormalizer(), new ObjectNormalizer()];
    return new Serializer(new Symfony\Component\Serializer\Serializer($normalizers, [new JsonEncoder()]));
}

function stamps(array $given): array
{
    $made = [new BusNameStamp('orders.bus')];
    foreach ($given as $name => $value) {
        $made[] = match ($name) {
            'delay' => new DelayStamp($value),
            'message_id' => new MessageIdStamp($value),
            'amqp' => new AmqpStamp(...$value),
        };
    }
    return $made;
}

function send(string $dsn, array $options): void
{
    $factory = new StatelessdTransportFactory();
    $factory->supports($dsn, []) || throw new LogicException('not its DSN');
    $serializer = $options['json'] ? json() : new PhpSerializer();
    $transport = $factory->createTransport($dsn, $options['transport'] + ['transport_name' => 'out'], $serializer);
    $locator = new SendersLocator(['*' => ['out']], new Transports(['out' => $transport]));
    $bus = new MessageBus([new SendMessageMiddleware($locator)]);
    foreach ($options['messages'] as [$number, $note, $stamps]) {
        try {
            $envelope = $bus->dispatch(new Order($number, $note), stamps($stamps));
            say(['sent' => $envelope->last(TransportMessageIdStamp::class)->getId()]);
        } catch (NotConfirmedException $e) {
            say(['failed' => $e->getMessage(), 'outcome' => $e->outcome, 'retryable' => $e->retryable, 'id' => $e->messageId]);
        } catch (Throwable $e) {
            say(['threw' => get_class($e), 'message' => $e->getMessage()]);
        }
    }
}

function consume(string $dsn, array $options): void
{
    $serializer = $options['json'] ? json() : new PhpSerializer();
    $transport = (new AmqpTransportFactory())->createTransport($dsn, $options['transport'], $serializer);
    $handler = static fn (Order $order) => say(['number' => $order->number, 'note' => $order->note]);
    $bus = new MessageBus([new HandleMessageMiddleware(new HandlersLocator([Order::class => [$handler]]))]);
    $events = new EventDispatcher();
    $events->addSubscriber(new StopWorkerOnMessageLimitListener($options['count']));
    $events->addListener(
        Symfony\Component\Messenger\Event\WorkerMessageReceivedEvent::class,
        static function ($event) {
            $envelope = $event->getEnvelope();
            $message = $envelope->last(AmqpReceivedStamp::class)->getAmqpEnvelope();
            say([
                'message_id' => $message->getMessageId(),
                'content_type' => $message->getContentType(),
                'priority' => $message->getPriority(),
                'routing_key' => $message->getRoutingKey(),
                'delivery_mode' => $message->getDeliveryMode(),
                'headers' => $message->getHeaders(),
                'bus' => $envelope->last(BusNameStamp::class)->getBusName(),
            ]);
        },
    );
    (new Worker(['in' => $transport], $bus, $events))->run(['sleep' => 10000]);
}

$argv[1]($argv[2], json_decode($argv[3], true));
