/** TCP connections of what is removed: they go on, or with `cut-removed` they end. A newer version takes over without any of this. */
import { expect, test } from 'vitest'
import { waitFor, Watcher } from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'
import { UNTOUCHED } from './world.ts'

const RULE = (guest: number) => `IN ACCEPT -dest 10.10.10.${guest} -p tcp -dport 22`
const HOST = 'nodes/pve1/host.fw'
const STAYS = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 23 # NAT 1023'

export function connectionTests(node: TestNode): void {
  test('of a removed or changed forward they go on, and end with cut-removed = yes', async () => {
    const open = async (port: number) => {
      await node.opens(port, { timeoutMs: 10_000 })
      return node.lab.stream('inet', `203.0.113.2:${port}`)
    }
    const both = [`${RULE(105)} # NAT 6001`, `${RULE(105)} # NAT 6002`]
    for (const cuts of [false, true]) {
      await node.pvenat.configure(`interval = 1\ncut-removed = ${cuts ? 'yes' : 'no'}`)
      await node.save(HOST, STAYS, ...both)
      const [removed, changed, stays] = [await open(6001), await open(6002), await open(1023)]
      // One goes, one leads to another guest.
      await node.save(HOST, STAYS, `${RULE(107)} # NAT 6002`)
      await waitFor(
        async () => {
          const answer = await node.ask(6002)
          return typeof answer === 'object' && answer.server === '107'
        },
        { timeoutMs: 10_000 },
      )
      if (cuts) {
        const isCut = async (stream: typeof removed) => !(await stream.ping(300))
        await waitFor(async () => (await isCut(removed)) && (await isCut(changed)), { timeoutMs: 8000 })
      }
      for (const stream of [removed, changed]) expect(await stream.ping(1000)).toBe(!cuts)
      expect(await stays.ping(1000)).toBe(true)
      await Promise.all([removed, changed, stays].map((stream) => stream.close()))
    }
    await node.pvenat.configure('interval = 1')
    await node.save(HOST, STAYS)
    await node.converged()
  })

  test('a newer version that writes everything anew: none is lost, no new one fails', async () => {
    const watcher = await Watcher.start(node.lab, UNTOUCHED)
    const old = (await node.parts()).own
    await node.pvenat.service?.stop()
    // Its hashes are others, and so every rule differs.
    await node.sh(`sed 's/"pvenat:"/"pvenat:n"/' dist/pvenat.cjs > /run/newer.cjs`)
    const argv = node.pvenat
      .argv('run')
      .map((word) => (word.endsWith('/pvenat.cjs') ? '/run/newer.cjs' : word))
    node.pvenat.service = node.lab.spawn('pve', argv)
    await node.pvenat.service.says(/in force: .*replace chain/, 15_000)
    // It puts back what was saved first, and takes those hashes for foreign ones, too.
    await waitFor(async () => (await node.parts()).own !== old, { what: 'the newer version to write' })
    await watcher.isWell()
    // And back again.
    await node.pvenat.service.stop()
    node.pvenat.launch()
    await node.repaired(old, undefined, 15_000)
    await watcher.isWell()
    await watcher.stop()
    expect(watcher.gaps()).toEqual([])
    expect(watcher.lost).toEqual([])
  })
}
