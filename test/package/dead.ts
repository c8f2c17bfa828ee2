/** A dead /etc/pve under a real systemd: what it asks of the unit, and what the service does meanwhile. */
import { expect } from 'vitest'
import { waitFor } from '../lab/index.ts'
import type { Debian } from './debian.ts'

/** Needs test/lab at /srv/lab; leaves all as it was. */
export async function deadMount(debian: Debian, expectShop: () => Promise<void>): Promise<void> {
  const order = (text: string) => debian.sh(`echo '${text}' >/srv/control`)
  const within = async (seconds: number, script: string) => {
    const start = Date.now()
    await debian.sh(`timeout 60 ${script}`)
    expect(Date.now() - start, script).toBeLessThan(seconds * 1000)
  }
  await order('{}')
  // Its heart beats whatever the interval between looks.
  await debian.sh(`mkdir -p /run/systemd/system/pvenat.service.d
printf '[Service]\\nWatchdogSec=6\\n' >/run/systemd/system/pvenat.service.d/test.conf; systemctl daemon-reload
sed -i 's/^\\[nat\\]$/[nat]\\ninterval = 300/' /etc/pvenat/pvenat.conf
mknod -m 666 /dev/fuse c 10 229; umount /etc/pve
systemd-run -q --unit=pmxcfs node /srv/lab/hanging-fs.mjs /srv/pve /etc/pve /srv/control
until mountpoint -q /etc/pve; do sleep 0.1; done; systemctl restart pvenat`)
  await expectShop()
  await order('{"hang": ""}')
  const tells = async () => /does not answer/.test(await debian.property('pvenat', 'StatusText'))
  await waitFor(tells, { timeoutMs: 15_000, what: 'the dead mount to be told' })
  await within(10, 'systemctl stop pvenat')
  expect(await debian.property('pvenat', 'Result')).toBe('success')
  await expectShop()
  await debian.sh('iptables -t nat -F PREROUTING')
  await within(20, 'systemctl start pvenat')
  await expectShop()
  await debian.sh('iptables -t nat -F PREROUTING')
  await waitFor(async () => expectShop().then(() => true))
  const beat = () => debian.property('pvenat', 'WatchdogTimestampMonotonic')
  const first = await beat()
  await waitFor(async () => Number(await beat()) - Number(first) > 7e6, {
    timeoutMs: 20_000,
    what: 'two beats',
  })
  expect(await debian.property('pvenat', 'NRestarts')).toBe('0')
  await within(10, 'systemctl restart pvenat')
  await order('{}')
  await waitFor(async () => !(await tells()), { timeoutMs: 15_000, what: 'the end of the trouble' })
  await debian.sh(`systemctl stop pmxcfs; mountpoint -q /etc/pve && umount -l /etc/pve || true
mount --bind /srv/pve /etc/pve; rm -r /dev/fuse /srv/control /run/systemd/system/pvenat.service.d
sed -i '/^interval = 300$/d' /etc/pvenat/pvenat.conf; systemctl daemon-reload; systemctl restart pvenat`)
  await expectShop()
}
