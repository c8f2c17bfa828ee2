# What a new connection costs the kernel: writes first packets of TCP connections of 198.51.100.7, each from a fresh client port, into a TUN device
# (tun.pl).
#   perl flows.pl DEVICE COUNT FIRST_CLIENT_PORT {ADDRESS:FIRST_PORT:PORTS}...
# The client ports of each destination follow those of the one before: none of its connections is known already.
# One line for each destination: microseconds a packet, of COUNT packets, or fewer when they are slow. Its ports are asked in turn, in a scattered order.
use strict;
use warnings;
use POSIX ();
use FindBin;
require "$FindBin::Bin/tun.pl";

my ($device, $count, $first, @destinations) = @ARGV;

# Packets between two looks at the clock, and after how many microseconds that was enough of them.
use constant { BATCH => 100, ENOUGH => 150_000, STEP => 7919 };

my ($tun, $null) = sinks($device);

sub microseconds {
    my ($out, $packet, $first, $low, $ports) = @_;
    my ($start, $sent) = (POSIX::clock(), 0);
    while ($sent < $count && POSIX::clock() - $start < ENOUGH) {
        for my $i ($sent .. $sent + BATCH - 1) {
            substr($packet, 20, 4, pack('nn', $first + $i, $low + ($i * STEP) % $ports));
            syswrite($out, $packet) // die "write: $!\n";
        }
        $sent += BATCH;
    }
    return (POSIX::clock() - $start) / $sent;
}

for my $destination (@destinations) {
    my ($address, $low, $ports) = split(/:/, $destination);
    my $packet = packet('198.51.100.7', $address, 0, 0, SYN());
    my @packets = ($packet, $first, $low, $ports);
    my $own = microseconds($null, @packets);
    printf "%.3f\n", microseconds($tun, @packets) - $own;
    $first += $count;
}
