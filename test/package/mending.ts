/** What doctor finds on a Debian machine, and its fix, pasted into a shell of it. */
import { expect } from 'vitest'
import type { Debian } from './debian.ts'

interface Finding {
  id: string
  fix: string[]
}

export async function findings(debian: Debian): Promise<Finding[]> {
  return JSON.parse((await debian.run('pvenat', 'doctor', '--json')).stdout) as Finding[]
}

/** Nothing is found; then it is broken, and that is found; then the fix is pasted, and nothing is found any more. */
export async function mend(debian: Debian, id: string, breaks: string): Promise<void> {
  const before = await findings(debian)
  expect(before.map((one) => one.id)).not.toContain(id)
  await debian.sh(breaks)
  const found = (await findings(debian)).filter((one) => one.id === id)
  expect(found).toHaveLength(1)
  await debian.sh(found.flatMap(({ fix }) => fix).join('\n'))
  expect(await findings(debian)).toEqual(before)
}

/** Lets apt install conntrack from the machine itself, as it is now, and puts an older one beside it: `/root/old.deb`. */
export const HAVE_REPOSITORY = `
mkdir -p /root/new/DEBIAN /root/old/DEBIAN /root/old/usr/sbin
dpkg -L conntrack | while read -r file; do [ -d "$file" ] || cp -a --parents "$file" /root/new; done
dpkg -s conntrack | grep -v '^Status:' >/root/new/DEBIAN/control
sed 's/^Version: .*/Version: 1:1.3.0/' /root/new/DEBIAN/control >/root/old/DEBIAN/control
printf '#!/bin/sh\\necho conntrack v1.3.0\\n' >/root/old/usr/sbin/conntrack
chmod 755 /root/old/usr/sbin/conntrack
dpkg-deb --build /root/new /root/new.deb; dpkg-deb --build /root/old /root/old.deb
(
  dpkg-deb --field /root/new.deb
  echo 'Filename: ./new.deb'
  stat -c 'Size: %s' /root/new.deb
  sha256sum /root/new.deb | sed 's/\\(.*\\) .*/SHA256: \\1/'
) >/root/Packages
mv /etc/apt/sources.list /root/sources.list
echo 'deb [trusted=yes] file:/root ./' >/etc/apt/sources.list
chmod 755 /root
apt-get update`

export const FORGET_REPOSITORY = `
mv /root/sources.list /etc/apt/sources.list
rm -r /root/new /root/old /root/new.deb /root/old.deb /root/Packages
chmod 700 /root`
