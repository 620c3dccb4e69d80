<?php
// What a RabbitMQ driver for Laravel's queue does for a worker, because Debian has none: it takes
// a message, and acknowledges it when Laravel deletes the job. A job that is released goes back
// with one more attempt, as the package vladimir-yuldashev/laravel-queue-rabbitmq counts them.

use Illuminate\Contracts\Queue\Job as JobContract;
use Illuminate\Contracts\Queue\Queue as QueueContract;
use Illuminate\Queue\Connectors\ConnectorInterface;
use Illuminate\Queue\Jobs\Job;
use Illuminate\Queue\NullQueue;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

final class RabbitMQConnector implements ConnectorInterface
{
    public function connect(array $config)
    {
        $connection = new AMQPStreamConnection($config['host'], $config['port'], 'guest', 'guest');
        return new RabbitMQQueue($connection->channel());
    }
}

final class RabbitMQQueue extends NullQueue implements QueueContract
{
    public function __construct(private $channel)
    {
    }

    public function pop($queue = null)
    {
        $message = $this->channel->basic_get($queue);
        return $message ? new RabbitMQJob($this->container, $message, $this->connectionName, $queue) : null;
    }
}

final class RabbitMQJob extends Job implements JobContract
{
    public function __construct($container, private AMQPMessage $message, $connectionName, $queue)
    {
        [$this->container, $this->connectionName, $this->queue] = [$container, $connectionName, $queue];
    }

    public function getJobId()
    {
        return $this->payload()['id'] ?? null;
    }

    public function getRawBody()
    {
        return $this->message->getBody();
    }

    public function attempts()
    {
        $properties = $this->message->get_properties();
        $headers = isset($properties['application_headers']) ? $properties['application_headers']->getNativeData() : [];
        return ($headers['laravel']['attempts'] ?? 0) + 1;
    }

    public function delete()
    {
        parent::delete();
        $this->message->ack();
    }

    public function release($delay = 0)
    {
        parent::release($delay);
        $again = new AMQPMessage($this->getRawBody(), $this->message->get_properties());
        $again->set('application_headers', new AMQPTable(['laravel' => ['attempts' => $this->attempts()]]));
        $this->message->getChannel()->basic_publish($again, '', $this->queue);
        $this->message->ack();
    }
}
