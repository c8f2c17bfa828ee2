/** pve-firewall's loop beside ours, at a size at which both take their time. */
import { describe, expect, test } from 'vitest'
import { node1Tree, now, PveFirewall, type Backend } from '../lab/index.ts'
import { figures, type Took } from './chaos.ts'
import { testNode } from '../packets/node.ts'

const FORWARDS = Number(process.env['FORWARDS'] ?? 2000)
const CYCLES = 50
/** So many take about as long as the cycles. */
const APPLIES = 10

/** No two in a row can be written as one rule. */
const forwards = (shift: number): string[] =>
  Array.from(
    { length: FORWARDS },
    (_, i) =>
      `IN ACCEPT -dest 10.10.10.105 -p tcp -dport ${1000 + i} # NAT ${20_000 + 3 * i + (i % 100 === shift ? 1 : 0)}`,
  )

export function cyclesSuite(backend: Backend): void {
  describe(`pve-firewall beside ${FORWARDS} forwards on ${backend}`, () => {
    const node = testNode(backend, { rules: { 'nodes/pve1/host.fw': forwards(0) } })

    test(
      `none of ${CYCLES} cycles fails during ${APPLIES} applies`,
      async () => {
        const firewall = new PveFirewall(node.lab, backend, node1Tree)
        await firewall.cycle()
        await node.apply()
        const applies: Took[] = []
        const cycles: Took[] = []
        const timed = async (list: Took[], work: () => Promise<unknown>) => {
          const start = now()
          await work()
          list.push({ what: `the ${list.length + 1}.`, ms: now() - start })
        }
        const applyAll = async () => {
          for (let i = 1; i <= APPLIES; i++) {
            await node.save('nodes/pve1/host.fw', ...forwards(i))
            await timed(applies, () => node.apply())
          }
        }
        const cycleAll = async () => {
          for (let i = 0; i < CYCLES; i++) await timed(cycles, () => firewall.cycle())
        }
        await Promise.all([applyAll(), cycleAll()])
        console.log(`${backend}, ${FORWARDS} forwards: apply ${figures(applies)}; cycle ${figures(cycles)}`)
        expect(firewall.failures).toEqual([])
        await node.converged()
      },
      180_000 * Math.max(1, FORWARDS / 2000),
    )
  })
}
