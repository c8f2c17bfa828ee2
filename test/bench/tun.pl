# Packets of TCP, and a TUN device to write them into. The write returns when the packet has gone all its way through the node, so the CPU time of
# this process is the cost of the way. The own part of the process is measured by writing the same packets to /dev/null, and taken off.
use strict;
use warnings;
use POSIX ();

use constant { TUNSETIFF => 0x400454ca, IFF_TUN => 1, IFF_NO_PI => 0x1000, SYN => 2, ACK => 16 };

# The device, and /dev/null.
sub sinks {
    my ($device) = @_;
    sysopen(my $tun, '/dev/net/tun', POSIX::O_RDWR()) or die "/dev/net/tun: $!\n";
    my $request = pack('a16 S x22', $device, IFF_TUN | IFF_NO_PI);
    ioctl($tun, TUNSETIFF, $request) or die "$device: $!\n";
    open(my $null, '>', '/dev/null') or die "/dev/null: $!\n";
    return ($tun, $null);
}

sub checksum {
    my $sum = 0;
    $sum += $_ for unpack('n*', $_[0]);
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return ~$sum & 0xffff;
}

# The node does not check the sum of TCP (nf_conntrack_checksum=0).
sub packet {
    my ($source, $destination, $from, $to, $flags) = @_;
    my $ip = pack('CCnnnCCnC4C4', 0x45, 0, 40, 0, 0x4000, 64, 6, 0, split(/\./, $source), split(/\./, $destination));
    substr($ip, 10, 2) = pack('n', checksum($ip));
    return $ip . pack('nnNNCCnnn', $from, $to, 1, 1, 0x50, $flags, 65535, 0, 0);
}

1;
