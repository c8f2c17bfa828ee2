/** The node's backend and its firewall are switched while all goes on: followed, nothing left behind, nothing lost. */
import { expect, test } from 'vitest'
import type { Status } from '../../src/show/status.ts'
import { fwFile, isInBackend, saveInPlace, saveLikeGui, standIn, waitFor, Watcher } from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'
import { UNTOUCHED } from './world.ts'

const PROXMOX_FIREWALL = '/usr/libexec/proxmox/proxmox-firewall'
const HOST = 'nodes/pve1/host.fw'

export function switchTests(node: TestNode): void {
  test('update-alternatives, to the other backend and back', async () => {
    const other = node.backend === 'legacy' ? 'nft' : 'legacy'
    // As update-alternatives does it; /etc is this node's own.
    const alternative = (to: string) => node.sh(`ln -sfn /usr/sbin/iptables-${to} /etc/alternatives/iptables`)
    await alternative(node.backend)
    await saveInPlace(node.tree, 'pvenat.conf', '[nat]\ninterval = 1\n')
    await node.converged()
    const { repairs } = await node.published<Status>()
    const watcher = await Watcher.start(node.lab, UNTOUCHED)
    for (const [to, from] of [
      [other, node.backend],
      [node.backend, other],
    ] as const) {
      const said = node.listen()
      await alternative(to)
      await waitFor(
        async () => {
          const parts = await node.parts()
          return isInBackend(parts, to) && !isInBackend(parts, from)
        },
        { timeoutMs: 15_000, what: `everything of ours to be in ${to} and nothing in ${from}` },
      )
      await waitFor(() => said(new RegExp(`removed leftovers of the ${from} backend`)) === 1)
      await node.converged()
      // Nobody has changed anything.
      expect(said(/repaired/)).toBe(0)
      await node.publishes({ backend: to, repairs })
      await watcher.isWell()
    }
    await watcher.stop()
    expect(watcher.gaps()).toEqual([])
    expect(watcher.lost).toEqual([])
    await node.pvenat.configure('interval = 1')
  }, 60_000)

  test('the nftables firewall of Proxmox VE, on and off', async () => {
    const mend = await standIn(node.lab, PROXMOX_FIREWALL, 'exit 0')
    const watcher = await Watcher.start(node.lab, UNTOUCHED)
    const rule = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 23 # NAT 1023'
    const plain = fwFile(rule)
    for (const [mode, text] of [
      ['nftables', plain.replace('enable: 1', 'enable: 1\nnftables: 1')],
      ['iptables', plain],
    ] as const) {
      await saveLikeGui(node.tree, HOST, text)
      await node.publishes({ firewall: mode })
      await node.converged()
      await watcher.isWell()
    }
    await watcher.stop()
    await mend()
    expect(watcher.gaps()).toEqual([])
    expect(watcher.lost).toEqual([])
  }, 60_000)
}
