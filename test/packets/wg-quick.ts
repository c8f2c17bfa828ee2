/** The table that wg-quick loads for a tunnel without `Table = off`: it sets the mark of each UDP packet anew. */
import { expect, test } from 'vitest'
import { forgetLeaks, type Lab } from '../lab/index.ts'
import type { TestNode } from './node.ts'
import { clientOf } from './uplink-guests.ts'

/** As wg-quick 1.0.20210914 loads it, without the addresses of the tunnel. */
const WG_QUICK = ['ip', 'ip6']
  .map(
    (family) => `table ${family} wg-quick-wg1 {
  chain premangle { type filter hook prerouting priority -150; meta l4proto udp meta mark set ct mark; }
  chain postmangle { type filter hook postrouting priority -150; meta l4proto udp meta mark 51820 ct mark set mark; }
}`,
  )
  .join('\n')

export async function loadWgQuick(lab: Lab): Promise<void> {
  await lab.exec('pve', ['nft', '-f', '-'], { input: WG_QUICK })
}

/** On a node whose table of wg-quick is older than the table of pvenat. */
export function wgQuickTest(node: TestNode, addresses: readonly string[]): void {
  test('wg-quick’s older table takes the marks of UDP away; doctor and explain tell so, and the fix mends that', async () => {
    const udp = (address: string) =>
      node.call('inet', `${address}:15003/udp`, { ...clientOf(address), timeoutMs: 300 })
    expect(await node.call('inet', '192.0.2.2:8080', clientOf('192.0.2.2'))).toMatchObject({ server: '108' })
    for (const address of ['192.0.2.2', '[2001:db8:2::2]']) expect(typeof (await udp(address))).toBe('string')
    const explained = await node.pvenat.run('explain', 'udp', '198.51.100.7', '192.0.2.2:15003')
    expect(explained.stdout).toContain('may take the marks of UDP packets away. See pvenat doctor')
    const findings = async () => {
      const { stdout } = await node.pvenat.run('doctor', '--json')
      return (JSON.parse(stdout) as { id: string; fix: string[] }[]).filter(({ id }) => id === 'uplink')
    }
    const fix = (await findings()).flatMap((one) => one.fix)
    expect(fix).toHaveLength(2)
    await node.sh(fix.join('\n'))
    expect(await findings()).toEqual([])
    for (const address of addresses) expect(await udp(address)).toMatchObject({ server: '108' })
    await node.sh('nft delete table ip wg-quick-wg1; nft delete table ip6 wg-quick-wg1')
    // A table that is newer than pvenat's comes first, and does no harm.
    await loadWgQuick(node.lab)
    for (const address of addresses) expect(await udp(address)).toMatchObject({ server: '108' })
    await forgetLeaks(node.lab)
  })
}
