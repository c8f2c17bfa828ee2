# What a new connection costs the kernel: writes first packets of TCP connections, each from a fresh client port, into a
# TUN device. The write returns when the packet has gone all its way through the node, so the CPU time of this process is
# the cost of the way. Its own part is measured by writing the same packets to /dev/null, and taken off.
#   perl flows.pl DEVICE COUNT FIRST_CLIENT_PORT {ADDRESS:FIRST_PORT:PORTS}...
# The client ports of each destination follow those of the one before: none of its connections is known already.
# One line for each destination: microseconds a packet, of COUNT packets, or fewer when they are slow. Its ports are asked in turn, in a scattered order.
use strict;
use warnings;
use POSIX ();

my ($device, $count, $first, @destinations) = @ARGV;

# Packets between two looks at the clock, and after how many microseconds that was enough of them.
use constant { BATCH => 100, ENOUGH => 150_000 };
use constant { TUNSETIFF => 0x400454ca, IFF_TUN => 1, IFF_NO_PI => 0x1000, STEP => 7919 };

sysopen(my $tun, '/dev/net/tun', POSIX::O_RDWR()) or die "/dev/net/tun: $!\n";
my $request = pack('a16 S x22', $device, IFF_TUN | IFF_NO_PI);
ioctl($tun, TUNSETIFF, $request) or die "$device: $!\n";
open(my $null, '>', '/dev/null') or die "/dev/null: $!\n";

sub checksum {
    my $sum = 0;
    $sum += $_ for unpack('n*', $_[0]);
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return ~$sum & 0xffff;
}

# A SYN of 198.51.100.7. The node does not check the sum of TCP (nf_conntrack_checksum=0), which would change with the ports.
sub syn {
    my $ip = pack('CCnnnCCnC4C4', 0x45, 0, 40, 0, 0x4000, 64, 6, 0, 198, 51, 100, 7, split(/\./, $_[0]));
    substr($ip, 10, 2) = pack('n', checksum($ip));
    return $ip . pack('nnNNCCnnn', 0, 0, 1, 0, 0x50, 2, 65535, 0, 0);
}

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
    my $packet = syn($address);
    my @packets = ($packet, $first, $low, $ports);
    my $own = microseconds($null, @packets);
    printf "%.3f\n", microseconds($tun, @packets) - $own;
    $first += $count;
}
