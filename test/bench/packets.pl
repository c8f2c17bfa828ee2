# What a packet of a connection that stands costs the kernel: one packet of TCP, written into a TUN device again and again. The write returns when the
# packet has gone all its way through the node, so the CPU time of this process is the cost of the way. Its own part is measured by
# writing the same packet to /dev/null, and taken off.
#   perl packets.pl DEVICE COUNT SOURCE DESTINATION PORT
# Prints nanoseconds a packet, a line each: of a connection that nothing is known about but by its own packets, and of answers at PORT.
use strict;
use warnings;
use POSIX ();

my ($device, $count, $source, $destination, $port) = @ARGV;

use constant { TUNSETIFF => 0x400454ca, IFF_TUN => 1, IFF_NO_PI => 0x1000, SYN => 2, ACK => 16 };

sysopen(my $tun, '/dev/net/tun', POSIX::O_RDWR()) or die "/dev/net/tun: $!\n";
ioctl($tun, TUNSETIFF, pack('a16 S x22', $device, IFF_TUN | IFF_NO_PI)) or die "$device: $!\n";
open(my $null, '>', '/dev/null') or die "/dev/null: $!\n";

sub checksum {
    my $sum = 0;
    $sum += $_ for unpack('n*', $_[0]);
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return ~$sum & 0xffff;
}

# The node does not check the sum of TCP (nf_conntrack_checksum=0).
sub packet {
    my ($from, $to, $flags) = @_;
    my $ip = pack('CCnnnCCnC4C4', 0x45, 0, 40, 0, 0x4000, 64, 6, 0, split(/\./, $source), split(/\./, $destination));
    substr($ip, 10, 2) = pack('n', checksum($ip));
    return $ip . pack('nnNNCCnnn', $from, $to, 1, 1, 0x50, $flags, 65535, 0, 0);
}

sub nanoseconds {
    my ($out, $packet) = @_;
    my $start = POSIX::clock();
    syswrite($out, $packet) // die "write: $!\n" for 1 .. $count;
    return (POSIX::clock() - $start) * 1000 / $count;
}

for my $packet (packet(4000, 4000, SYN), packet($port, $port, ACK)) {
    my $own = nanoseconds($null, $packet);
    printf "%.0f\n", nanoseconds($tun, $packet) - $own;
}
