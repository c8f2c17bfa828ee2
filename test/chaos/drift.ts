/** Every single foreign change to what is ours is undone, soon and without harm to others. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { now, PveFirewall, node1Tree, tamper, TAMPERINGS, waitFor, type Backend } from '../lab/index.ts'
import { median } from './chaos.ts'
import { TestNode } from './node.ts'

const PROMISE_MS = 1500

export function driftSuite(backend: Backend): void {
  describe(`drift on ${backend}`, () => {
    let node: TestNode
    let own: string
    const took: { name: string; ms: number }[] = []

    beforeAll(async () => {
      node = await TestNode.start(backend, { firewall: true, foreign: true })
      await node.lab.serve('108', 'tcp', 80)
      await node.pvenat.start()
      await node.converged()
      own = (await node.parts()).own
    })
    afterAll(async () => {
      const worst = [...took].sort((a, b) => b.ms - a.ms)
      const all = took.map(({ ms }) => ms)
      console.log(
        `repair on ${backend}: ${took.length} changes, median ${Math.round(median(all))} ms, worst ${Math.round(worst[0]?.ms ?? 0)} ms (${worst[0]?.name})`,
      )
      await node.stop()
    })

    // One that is never repaired shall not fail those after it.
    afterEach(async () => {
      if ((await node.parts()).own === own) return
      await node.pvenat.service?.stop('SIGKILL')
      await node.pvenat.run('rollback')
      node.pvenat.service = node.lab.spawn('pve', node.pvenat.argv('run'))
      await node.repaired(own)
    })

    test.each(Object.entries(TAMPERINGS))('%s', async (name, { script }) => {
      await tamper(node.lab, backend, script)
      const start = now()
      const { foreign } = await node.parts()
      const ms = await node.repaired(own, start)
      took.push({ name, ms })
      expect(ms).toBeLessThan(PROMISE_MS)
      expect((await node.parts()).foreign).toBe(foreign)
      expect(await node.lab.ask('inet', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108' })
    })

    test('while /etc/pve is not mounted, too: what was in force last is put back', async () => {
      await node.sh(`mv '${node.tree}/local' '${node.tree}/aside'`)
      try {
        const from = node.pvenat.service?.stdout.length ?? 0
        node.pvenat.service?.signal('SIGHUP')
        await waitFor(() => node.pvenat.service?.stdout.slice(from).includes('is not mounted'))
        await tamper(node.lab, backend, '$T4 -t nat -F PREROUTING')
        expect(await node.repaired(own, now(), 4000)).toBeLessThan(PROMISE_MS)
      } finally {
        const output = () => node.pvenat.service?.stdout ?? ''
        const from = output().length
        await node.sh(`mv '${node.tree}/aside' '${node.tree}/local'`)
        await waitFor(() => output().slice(from).includes('in step again'))
        await node.repaired(own)
      }
    })

    test('changes of others that do not concern us make no noise', async () => {
      // Whoever tampered so often is taken for one who fights; a new service knows nothing of it.
      await node.pvenat.service?.stop()
      node.pvenat.service = node.lab.spawn('pve', node.pvenat.argv('run'))
      await node.publishes({ inStep: true, pid: node.pvenat.service.pid })
      const output = () => node.pvenat.service?.stdout ?? ''
      const from = output().length
      const firewall = new PveFirewall(node.lab, backend, node1Tree)
      for (let i = 0; i < 4; i++) await firewall.cycle()
      expect(firewall.failures).toEqual([])
      expect((await node.parts()).own).toBe(own)
      expect(output().slice(from)).toBe('')
    })

    test('somebody who undoes each repair is told of once, answered ever more slowly, and outlasted', async () => {
      const output = () => node.pvenat.service?.stdout ?? ''
      const from = output().length
      const hook = 'PREROUTING -j PVENAT-PREROUTING'
      const lasts = '6'
      // Each line tells how many tenths of a second after the start one more repair was undone.
      const undone = await node.sh(
        `end=$(($(date +%s) + ${lasts})); start=$(date +%s%N)
        while [ $(date +%s) -lt $end ]; do
          if iptables-${backend} -w -t nat -D ${hook} 2>/dev/null; then echo $((($(date +%s%N) - start) / 100000000)); fi
        done`,
      )
      const times = undone.trim().split('\n').map(Number)
      const [early, late] = [times.filter((t) => t < 30).length, times.filter((t) => t >= 30).length]
      console.log(`fight on ${backend}: undone at ${times.join(' ')} tenths of a second`)
      expect(times.length).toBeGreaterThan(1)
      // Few of them tell nothing of a rate.
      expect(late).toBeLessThanOrEqual(early + 1)
      const said = output().slice(from)
      const alarms = said.match(/another program/g) ?? []
      expect(alarms.length).toBeLessThanOrEqual(1)
      if (times.length > 8) expect(alarms).toHaveLength(1)
      if (alarms.length > 0) expect(said).toMatch(/another program \((\S+, )?process \d+.*\) keeps changing/)
      expect(await node.repaired(own, now(), 35_000)).toBeLessThan(31_000)
    }, 60_000)
  })
}
