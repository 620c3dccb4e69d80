#!/usr/bin/perl
# Publish one message as a form, with Perl's core modules alone.
# Try it with "make run":
#   perl examples/publish.pl && make read QUEUE=test
# STATELESSD_URL (http://localhost:8000), STATELESSD_AUTH (guest:guest) and STATELESSD_EXCHANGE
# (test) name another gateway, user and exchange.
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP;
use MIME::Base64;
use Time::HiRes 'sleep';

my $url      = $ENV{STATELESSD_URL}      // 'http://localhost:8000';
my $auth     = $ENV{STATELESSD_AUTH}     // 'guest:guest';
my $exchange = $ENV{STATELESSD_EXCHANGE} // 'test';
my $tries    = 5;
$exchange =~ s/([^\w.~-])/sprintf '%%%02X', ord $1/aeg;

my $http = HTTP::Tiny->new(
    timeout         => 10,
    default_headers => { Authorization => 'Basic ' . encode_base64($auth, '') },
);

# Publish once. Return nothing if RabbitMQ has confirmed the message, else the problem.
sub publish_once {
    my ($path, $message) = @_;
    my $response = $http->post_form($url . $path, $message);
    return if $response->{status} == 204;

    # Without an answer, or with a proxy's own, nobody knows whether the message arrived.
    my $document = eval { decode_json($response->{content}) };
    my $problem  = {
        title     => 'No answer',
        detail    => $response->{status} == 599 ? $response->{content} : $response->{reason},
        outcome   => 'unknown',
        retryable => 1,
        ref $document eq 'HASH' ? %$document : (),
    };
    my $retry_after = $response->{headers}{'retry-after'} // '';
    $problem->{wait} = $retry_after if $retry_after =~ /^\d+$/;
    return $problem;
}

# Try several times. Return nothing if RabbitMQ has the message, else the last problem.
sub publish {
    my ($path, $message) = @_;
    my $unknown;
    for my $try (1 .. $tries) {
        my $problem = publish_once($path, $message) or return;
        $unknown ||= $problem->{outcome} ne 'not-published';
        $problem->{outcome} = 'unknown' if $unknown;
        return $problem if !$problem->{retryable} || $try == $tries;
        sleep($problem->{wait} // (0.05 + rand 0.05) * 2**$try);
    }
}

my $problem = publish(
    "/%2f/$exchange/orders.new",
    {
        body         => encode_json({ order => 42, note => '50 % more & better' }),
        content_type => 'application/json',
        message_id   => 'order-42',  # the same in each try, so that consumers can drop a copy
        mandatory    => 'true',
        headers      => encode_json({ source => 'shop' }),
    },
);
if ($problem) {
    my $fate = $problem->{outcome} eq 'not-published' ? 'Not published' : 'Perhaps published';
    binmode STDOUT, ':encoding(UTF-8)';
    print "$fate: $problem->{title}: $problem->{detail}\n";
    exit($problem->{retryable} ? 75 : 1);
}
print "Published.\n";
