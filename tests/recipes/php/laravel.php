<?php
// Laravel's queue without the rest of Laravel.
// laravel.php push JSON: dispatches jobs, and prints what became of each as a line.
// laravel.php work JSON: lets Laravel's worker run one job, and prints what it does as lines.

require 'Illuminate/Queue/autoload.php';
require 'Illuminate/Bus/autoload.php';
require 'Illuminate/Events/autoload.php';
require 'PhpAmqpLib/autoload.php';
require __DIR__ . '/../../../examples/laravel_queue.php';
require __DIR__ . '/laravel_driver.php';

use App\Queue\NotConfirmedException;
use App\Queue\StatelessdConnector;
use Illuminate\Bus\Queueable;
use Illuminate\Container\Container;
use Illuminate\Contracts\Bus\Dispatcher as BusContract;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Events\Dispatcher as Events;
use Illuminate\Queue\Capsule\Manager;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;

function say(array $what): void
{
    echo json_encode($what, JSON_THROW_ON_ERROR), "\n";
}

final class ShipOrder implements ShouldQueue
{
    use InteractsWithQueue;
    use Queueable;

    public $tries = 3;
    public $priority = 7;

    public function __construct(private int $number, private string $note, private bool $fails = false)
    {
    }

    public function handle(): void
    {
        say([
            'number' => $this->number,
            'note' => $this->note,
            'uuid' => $this->job->uuid(),
            'id' => $this->job->getJobId(),
            'attempts' => $this->attempts(),
            'tries' => $this->job->maxTries(),
        ]);
        if ($this->fails) {
            throw new RuntimeException('it was told to fail');
        }
    }
}

/** A job that any program can name in a payload. */
final class Greeter
{
    public function greet($job, array $data): void
    {
        say(['greeted' => $data['name'], 'uuid' => $job->uuid()]);
        $job->delete();
    }
}

final class Complain implements ExceptionHandler
{
    public function report(Throwable $e)
    {
        say(['reported' => $e->getMessage()]);
    }

    public function shouldReport(Throwable $e)
    {
        return true;
    }

    public function render($request, Throwable $e)
    {
    }

    public function renderForConsole($output, Throwable $e)
    {
    }
}

function manager(array $connection): Manager
{
    $container = new Container();
    Container::setInstance($container);
    $container->instance(Illuminate\Contracts\Container\Container::class, $container);
    $container->instance('events', $events = new Events($container));
    $container->instance(Illuminate\Contracts\Events\Dispatcher::class, $events);
    $container->singleton(BusContract::class, fn ($app) => new Illuminate\Bus\Dispatcher($app));
    $manager = new Manager($container);
    $manager->addConnector('statelessd', fn () => new StatelessdConnector());
    $manager->addConnector('rabbitmq', fn () => new RabbitMQConnector());
    $manager->addConnection($connection);
    return $manager;
}

function push(array $options): void
{
    $queue = manager(['driver' => 'statelessd'] + $options['connection'])->getConnection();
    foreach ($options['jobs'] as $each) {
        try {
            $job = new ShipOrder(...$each['job']);
            say(['id' => isset($each['delay']) ? $queue->later($each['delay'], $job) : $queue->push($job, '', $each['queue'] ?? null)]);
        } catch (NotConfirmedException $e) {
            $uuid = json_decode($e->payload, true)['uuid'];
            say(['failed' => $e->getMessage(), 'outcome' => $e->outcome, 'retryable' => $e->retryable, 'uuid' => $uuid]);
            if ($each['again'] ?? false) {
                say(['id' => $queue->pushRaw($e->payload, $e->queue)]);
            }
        } catch (LogicException $e) {
            say(['threw' => $e->getMessage()]);
        }
    }
}

function work(array $options): void
{
    $manager = manager(['driver' => 'rabbitmq'] + $options['connection'])->getQueueManager();
    $worker = new Worker($manager, $manager->getApplication()['events'], new Complain(), fn () => false);
    $worker->runNextJob('default', $options['queue'], new WorkerOptions());
}

$argv[1](json_decode($argv[2], true));
