# New TCP connections one after the other, and the server that they are for.
#   perl connect.pl serve NAME PORT
#   perl connect.pl ask NAME ADDRESS PORT PAUSE_MS
# A connection has failed unless NAME answers before a lost packet would be sent again. At SIGTERM `ask` says how many
# connections it made, in how many seconds, and each failure.
use strict;
use warnings;
use Socket qw(:DEFAULT SOMAXCONN SOL_SOCKET SO_REUSEADDR SO_LINGER SO_SNDTIMEO SO_RCVTIMEO);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant PATIENCE => pack('l!l!', 0, 900_000);
use constant RESET    => pack('ii', 1, 0);

my ($mode, $name, @rest) = @ARGV;
my $over = 0;
$SIG{TERM} = sub { $over = 1 };
$SIG{PIPE} = 'IGNORE';
$| = 1;
if ($mode eq 'serve') { serve(@rest) } else { ask(@rest) }

sub serve {
    my ($port) = @_;
    socket(my $server, PF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
    setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1);
    bind($server, sockaddr_in($port, INADDR_ANY)) or die "bind: $!\n";
    listen($server, SOMAXCONN) or die "listen: $!\n";
    print "ready\n";
    until ($over) {
        accept(my $client, $server) or next;
        syswrite($client, $name);
    }
}

sub ask {
    my ($address, $port, $pause) = @_;
    my $to = sockaddr_in($port, inet_aton($address));
    my ($made, @failures) = (0);
    my $start = clock_gettime(CLOCK_MONOTONIC);
    print "ready\n";
    until ($over) {
        my $answer = answer($to);
        last if $over;
        $made++;
        push @failures, $answer if $answer ne $name;
        select(undef, undef, undef, $pause / 1000) if $pause > 0;
    }
    printf "%d %.3f\n", $made, clock_gettime(CLOCK_MONOTONIC) - $start;
    print "$_\n" for @failures;
}

sub answer {
    my ($to) = @_;
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or return "socket: $!";
    # Closed by a reset, its port is free at once.
    setsockopt($socket, SOL_SOCKET, SO_LINGER, RESET);
    setsockopt($socket, SOL_SOCKET, $_, PATIENCE) for SO_SNDTIMEO, SO_RCVTIMEO;
    connect($socket, $to) or return "connect: $!";
    my $read = sysread($socket, my $answer, 100);
    return defined $read ? $answer : "read: $!";
}
