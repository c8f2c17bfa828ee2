# What a packet of a connection that stands costs the kernel: one packet of TCP, written into a TUN device again and again (tun.pl).
#   perl packets.pl DEVICE COUNT SOURCE DESTINATION PORT
# Prints nanoseconds a packet, a line each: of a connection that nothing is known about but by its own packets, and of answers at PORT.
use strict;
use warnings;
use POSIX ();
use FindBin;
require "$FindBin::Bin/tun.pl";

my ($device, $count, $source, $destination, $port) = @ARGV;

my ($tun, $null) = sinks($device);

sub nanoseconds {
    my ($out, $packet) = @_;
    my $start = POSIX::clock();
    syswrite($out, $packet) // die "write: $!\n" for 1 .. $count;
    return (POSIX::clock() - $start) * 1000 / $count;
}

for my $packet (map { packet($source, $destination, @$_) } [4000, 4000, SYN()], [$port, $port, ACK()]) {
    my $own = nanoseconds($null, $packet);
    printf "%.0f\n", nanoseconds($tun, $packet) - $own;
}
