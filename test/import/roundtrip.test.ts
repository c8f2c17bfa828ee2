// Nothing is lost on the way: what is imported compiles to what was there, for the forwards of every case.
import { afterAll, describe, expect, test } from 'vitest'
import { formatRange } from '../../src/address.ts'
import { NO_NFTABLES } from '../../src/facts/nftables.ts'
import { ruleLine, type GuiRule } from '../../src/import/guirule.ts'
import { importAll } from '../../src/import/trial.ts'
import { readWritten } from '../../src/import/written.ts'
import type { Forward } from '../../src/nat/nat-rule.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import { formatPorts, mergePorts, type PortRange } from '../../src/ports.ts'
import type { Look } from '../../src/read.ts'
import { loadCases } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { EMPTY, saved } from './saved.ts'

describe('what is imported compiles to what was there', () => {
  let seen = 0
  afterAll(() => expect(seen).toBeGreaterThan(200))

  test.each(loadCases().map((one) => [one.name, one] as const))('%s', async (_, one) => {
    const { look } = await worldOf(one)
    const before = compile({ ...look, nodePorts: [] })
    const lines = writtenByHand(before)
    const tables = { legacy: EMPTY, nft: { 4: saved(lines[4]), 6: saved(lines[6]) } }
    const found = importAll(withOnly(look, []), readWritten({ tables, nftables: NO_NFTABLES, bootLines: [] }))
    const rules = found.flatMap(({ becomes }) => ('rule' in becomes ? [becomes.rule] : []))
    const after = compile(withOnly(look, rules))
    expect(forwardsOf(after)).toEqual(forwardsOf(before))
    seen += forwardsOf(before).length
  })
})

/** As somebody would have written the forwards of a case into the nat table; what no iptables line says is left out. */
function writtenByHand({ translation, view }: Outcome): Record<4 | 6, string[]> {
  const lines: Record<4 | 6, string[]> = { 4: [], 6: [] }
  for (const { one, at } of plainForwards({ translation, view }))
    for (const source of one.source.ranges === 'any' ? [undefined] : one.source.ranges) {
      const bracket = (ip: string) => (one.family === 6 ? `[${ip}]` : ip)
      const [lo = 0, hi = 0] = one.ports ?? []
      const inner = one.innerPort ?? 0
      const shift = one.single || hi === lo ? `${inner}` : `${inner}-${inner + hi - lo}/${lo}`
      lines[one.family].push(
        [
          `-A PREROUTING`,
          ...(source ? [`-s ${formatRange(source)}`] : []),
          `-d ${at}`,
          `-p ${one.proto} -m ${one.proto}`,
          `--dport ${lo === hi ? lo : `${lo}:${hi}`}`,
          `-j DNAT --to-destination ${bracket(formatRange(one.inner))}:${shift}`,
        ].join(' '),
      )
    }
  return lines
}

function plainForwards({
  translation,
}: Pick<Outcome, 'translation' | 'view'>): { one: Forward; at: string }[] {
  return ([4, 6] as const).flatMap((family) => {
    const { common, addresses } = translation.dispatch[family]
    return addresses.flatMap((address) =>
      [...address.special, ...(address.common ? common : [])]
        .filter(
          (one) =>
            !one.full &&
            one.ports !== undefined &&
            !one.snat &&
            one.sport === undefined &&
            !one.rule.askedInterface,
        )
        .map((one) => ({ one, at: formatRange(address.address) })),
    )
  })
}

/** By address, protocol, source and where they lead, the ports: `203.0.113.2 tcp 198.51.100.7 -> 10.10.10.105 -800: 822`. */
function forwardsOf(outcome: Outcome): string[] {
  const ports = new Map<string, PortRange[]>()
  for (const { one, at } of plainForwards(outcome))
    for (const source of one.source.ranges === 'any' ? ['any'] : one.source.ranges.map(formatRange)) {
      const range = one.ports ?? [0, 0]
      const to = one.single ? `:${one.innerPort}` : (one.innerPort ?? 0) - range[0]
      const key = `${at} ${one.proto} ${source} -> ${formatRange(one.inner)} ${to}`
      ports.set(key, [...(ports.get(key) ?? []), range])
    }
  return [...ports].map(([key, all]) => `${key}: ${formatPorts(mergePorts(all))}`).sort()
}

/** The look with these rules alone, in the hands of the administrator: what a guest may do is not the question. */
function withOnly(look: Look, rules: readonly GuiRule[]): Look {
  const fw = new Map([...look.tree.fw.keys()].map((file) => [file, '[OPTIONS]\nenable: 1\n']))
  for (const rule of rules) fw.set(rule.file, `${fw.get(rule.file) ?? ''}[RULES]\n${ruleLine(rule)}\n`)
  return { ...look, nodePorts: [], tree: { ...look.tree, fw } }
}
