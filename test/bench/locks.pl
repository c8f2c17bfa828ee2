# How long a lock file is held, and how often: looks at the kernel's list of locks again and again, without taking the lock.
#   perl locks.pl FILE
# Says "ready"; at SIGTERM one line for each hold, in milliseconds.
use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($file) = @ARGV;
use constant PAUSE_SECONDS => 0.0003;

sysopen(my $handle, $file, POSIX::O_RDWR() | POSIX::O_CREAT()) or die "$file: $!\n";
my ($device, $inode) = stat($handle);
# As in linux/kdev_t.h, the way stat hands it out.
my $id = sprintf('%02x:%02x:%d', ($device >> 8) & 0xfff, ($device & 0xff) | (($device >> 12) & 0xfff00), $inode);

my $over = 0;
$SIG{TERM} = sub { $over = 1 };
$| = 1;
print "ready\n";

my (@holds, $since);
until ($over) {
    open(my $locks, '<', '/proc/locks') or die "/proc/locks: $!\n";
    my $held = grep { /FLOCK .* \Q$id\E / } <$locks>;
    my $now = clock_gettime(CLOCK_MONOTONIC) * 1000;
    $since //= $now if $held;
    if (!$held && defined $since) { push @holds, $now - $since; undef $since }
    select(undef, undef, undef, PAUSE_SECONDS);
}
printf "%.2f\n", $_ for @holds;
