/** Connections that should live do, and those that should move do so at once. */
import { describe, expect, test } from 'vitest'
import { isInBackend, now, Pvenat, waitFor, Watcher, type Backend, type Flow } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'
import { busyNode, UNTOUCHED } from './world.ts'

const PROMISE_MS = 1500

export function connectionsSuite(backend: Backend): void {
  describe(`connections on ${backend}`, () => {
    const node = testNode(backend, {
      ...busyNode,
      pvenat: 'run',
      serve: [...busyNode.serve, '105:7000/udp', '107:7000/udp', '108:5003/udp'],
    })

    test('streams survive edits, applies, a restart of the service and the removal of other rules', async () => {
      const watcher = await Watcher.start(node.lab, UNTOUCHED)
      const edits = [['IN SSH(ACCEPT) # NAT 2022'], [], ['IN SSH(ACCEPT) # NAT 1022']]
      for (const edit of edits) {
        await node.save('firewall/105.fw', ...edit)
        await node.converged()
        await node.apply()
        await watcher.isWell()
      }
      await node.pvenat.service?.stop()
      await node.save('firewall/105.fw')
      node.pvenat.launch()
      await node.converged()
      await watcher.isWell()
      await watcher.stop()
      expect(watcher.gaps()).toEqual([])
      expect(watcher.lost).toEqual([])
    })

    test('the other backend by settings and back: no gap, nothing left behind', async () => {
      const watcher = await Watcher.start(node.lab, UNTOUCHED)
      const other = backend === 'legacy' ? 'nft' : 'legacy'
      for (const [to, from] of [
        [other, backend],
        [backend, other],
      ] as const) {
        await new Pvenat(node.lab, to, node.tree).configure()
        await waitFor(
          async () => {
            const parts = await node.parts()
            return isInBackend(parts, to) && !isInBackend(parts, from)
          },
          { timeoutMs: 12_000, what: `everything of ours to be in ${to} and nothing in ${from}` },
        )
        await node.converged()
        await watcher.isWell()
      }
      await watcher.stop()
      expect(watcher.gaps()).toEqual([])
      expect(watcher.lost).toEqual([])
    }, 60_000)

    test('a UDP flow of a changed forward is cut over at once, the others are left alone', async () => {
      const host = (...rules: string[]) => node.save('nodes/pve1/host.fw', ...rules)
      const rule = (guest: number) => `IN ACCEPT -dest 10.10.10.${guest} -p udp -dport 7000 # NAT 17000`
      await host(rule(105))
      const [moving, staying, early] = await Promise.all([
        node.lab.flow('inet', '203.0.113.2:17000'),
        node.lab.flow('inet', '203.0.113.2:15003'),
        // Sends before there is anybody: its entry leads to the node itself.
        node.lab.flow('inet', '203.0.113.2:18000'),
      ])
      await answers(moving, '105')
      const before = await staying.ask()
      expect(before).toMatchObject({ server: '108' })
      expect(typeof (await early.ask(200))).toBe('string')
      const start = now()
      await host(rule(107), 'IN ACCEPT -dest 10.10.10.105 -p udp -dport 7000 # NAT 18000')
      await answers(moving, '107')
      const movedMs = now() - start
      await answers(early, '105')
      const newMs = now() - start
      expect(await staying.ask()).toEqual(before)
      const gone = now()
      await host()
      await waitFor(async () => typeof (await moving.ask(100)) === 'string', {
        what: 'the removed forward to go',
      })
      const goneMs = now() - gone
      expect(await staying.ask()).toEqual(before)
      console.log(
        `${backend}, UDP flows: moved after ${Math.round(movedMs)} ms, new after ${Math.round(newMs)} ms, removed after ${Math.round(goneMs)} ms`,
      )
      const worstMs = Math.max(movedMs, newMs, goneMs)
      expect(worstMs).toBeLessThan(await node.fair(PROMISE_MS, worstMs))
      await Promise.all([moving, staying, early].map((flow) => flow.close()))
    })

    test('streams survive the removal of the last rule; new connections do not pass any more', async () => {
      const streams = await Promise.all(
        ['8080', '822'].map((port) => node.lab.stream('inet', `203.0.113.2:${port}`)),
      )
      const out = await node.lab.stream('107', '203.0.113.1:443')
      for (const name of ['cluster', '105', '107', '108']) await node.save(`firewall/${name}.fw`)
      await node.save('nodes/pve1/host.fw')
      await waitFor(async () => typeof (await node.ask(8080)) === 'string')
      await node.converged()
      for (let i = 0; i < 3; i++)
        for (const stream of [...streams, out]) expect(await stream.ping(3000)).toBe(true)
      await Promise.all([...streams, out].map((stream) => stream.close()))
    })
  })
}

/** Asks on and on, as a client does that never stops. */
async function answers(flow: Flow, server: string): Promise<void> {
  await waitFor(
    async () => {
      const answer = await flow.ask(100)
      return typeof answer !== 'string' && answer.server === server
    },
    { what: `an answer of ${server}` },
  )
}
