/** Every single foreign change to what is ours is undone, soon and without harm to others. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  holdLock,
  now,
  PveFirewall,
  PVEFW_LOCK,
  node1Tree,
  tamper,
  TAMPERINGS,
  waitFor,
  type Backend,
} from '../lab/index.ts'
import { figures, type Took } from './chaos.ts'
import { testNode } from '../packets/node.ts'

const PROMISE_MS = 1500

export function driftSuite(backend: Backend): void {
  describe(`drift on ${backend}`, () => {
    const node = testNode(backend, {
      firewall: true,
      foreign: true,
      pvenat: 'run',
      serve: ['108:80/tcp'],
    })
    let own: string
    const took: Took[] = []

    beforeAll(async () => {
      await node.converged()
      own = (await node.parts()).own
    })
    afterAll(() => console.log(`repair on ${backend}: ${took.length} changes, ${figures(took)}`))

    // One that is never repaired shall not fail those after it.
    afterEach(async () => {
      if ((await node.parts()).own === own) return
      await node.pvenat.service?.stop('SIGKILL')
      await node.pvenat.run('rollback')
      node.pvenat.launch()
      await node.repaired(own)
    })

    test.each(Object.entries(TAMPERINGS))('%s', async (name, { script }) => {
      await tamper(node.lab, backend, script)
      const start = now()
      const { foreign } = await node.parts()
      const ms = await node.repaired(own, start)
      took.push({ what: name, ms })
      expect(ms).toBeLessThan(await node.fair(PROMISE_MS, ms))
      expect((await node.parts()).foreign).toBe(foreign)
      expect(await node.ask(8080)).toMatchObject({ server: '108' })
    })

    test('what is changed between a look at the kernel and the write is put right at once, too', async () => {
      const file = 'firewall/105.fw'
      const text = await node.text(file)
      await node.save(file, 'IN SSH(ACCEPT) # NAT 30022')
      await node.converged()
      const holder = await holdLock(node.lab, PVEFW_LOCK)
      await node.edit(file, () => text)
      const child = `pgrep -x flock -P ${node.pvenat.service?.pid} || true`
      const isWaiting = async () => (await node.sh(child)) !== ''
      await waitFor(isWaiting, { what: 'the write to wait for the lock' })
      // Those of before and of now.
      await node.sh(
        'for s in $(ipset list -n | grep pvenat-self-); do ipset add $s 10.10.10.108,tcp:9 || true; done',
      )
      await holder.stop('SIGKILL')
      const ms = await node.repaired(own)
      expect(ms).toBeLessThan(await node.fair(1000, ms))
    })

    test('while /etc/pve is not mounted, too: what was in force last is put back', async () => {
      const mount = await node.unmount()
      try {
        const said = node.listen()
        node.pvenat.service?.signal('SIGHUP')
        await waitFor(() => said(/is not mounted/) > 0)
        await tamper(node.lab, backend, '$T4 -t nat -F PREROUTING')
        const ms = await node.repaired(own)
        expect(ms).toBeLessThan(await node.fair(PROMISE_MS, ms))
      } finally {
        const said = node.listen()
        await mount()
        await waitFor(() => said(/in sync again/) > 0)
        await node.repaired(own)
      }
    })

    test('changes of others that do not concern us make no noise', async () => {
      // Whoever tampered so often is taken for one who fights; a new service knows nothing of it.
      await node.pvenat.service?.stop()
      const { pid } = node.pvenat.launch()
      await node.publishes({ inStep: true, pid })
      const said = node.listen()
      const firewall = new PveFirewall(node.lab, backend, node1Tree)
      for (let i = 0; i < 4; i++) await firewall.cycle()
      expect(firewall.failures).toEqual([])
      expect((await node.parts()).own).toBe(own)
      expect(said(/./)).toBe(0)
    })

    test('somebody who undoes each repair is told of once, answered ever more slowly, and outlasted', async () => {
      const said = node.listen()
      const hook = 'PREROUTING -j PVENAT-PREROUTING'
      const lasts = '10'
      // Each line tells how many tenths of a second after the start one more repair was undone.
      const undone = await node.sh(
        `end=$(($(date +%s) + ${lasts})); start=$(date +%s%N)
        while [ $(date +%s) -lt $end ]; do
          if iptables-${backend} -w -t nat -D ${hook} 2>/dev/null; then echo $((($(date +%s%N) - start) / 100000000)); fi
        done`,
      )
      const times = undone.trim().split('\n').map(Number)
      const late = times.filter((t) => t >= 60).length
      console.log(`fight on ${backend}: undone at ${times.join(' ')} tenths of a second`)
      expect(times.length).toBeGreaterThan(1)
      // In four seconds: at one rate it would be at least twice a second, for a repair is made again when it is seen undone.
      expect(late).toBeLessThanOrEqual(5)
      const alarms = said(/another program/)
      expect(alarms).toBeLessThanOrEqual(1)
      if (times.length > 8) expect(alarms).toBe(1)
      expect(said(/another program \((\S+, )?process \d+.*\) keeps changing/)).toBe(alarms)
      expect(await node.repaired(own, now(), 35_000)).toBeLessThan(31_000)
    }, 60_000)
  })
}
