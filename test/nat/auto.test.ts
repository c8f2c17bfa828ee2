// NAT auto: what a rule is given depends on its own file alone, and no rule on top of it changes that.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { movedPorts } from '../../src/nat/auto.ts'
import { grantedForwards } from '../../src/nat/conflicts.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import { word, type Place } from '../../src/diagnostic.ts'
import { formatPorts } from '../../src/ports.ts'
import { listRows, listTexts, renderListJson, renderTexts } from '../../src/show/list.ts'
import { externalCell } from '../../src/show/cells.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { ledgerAfter } from '../ledger.ts'

/** Small, so that rules are often in each other's way; 20050-20059 is of 105, 20070-20079 of 107. */
const SETTINGS = '[nat]\nguest-block = 20000-20099/10\n'
/** Ports of the block of 105, and a few others. */
const port = fc.integer({ min: 20048, max: 20062 })
const number = fc.oneof(
  port.map(String),
  fc.tuple(port, fc.nat({ max: 3 })).map(([lo, more]) => `${lo}-${lo + more}`),
)
const inner = fc.oneof(
  fc.integer({ min: 1, max: 30 }).map(String),
  fc
    .tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 3 }))
    .map(([lo, n]) => `${lo}:${lo + n}`),
  fc.constant('80,443'),
)
const rule = fc
  .tuple(
    fc.constantFrom('', '', '|'),
    fc.constantFrom('tcp', 'udp'),
    inner,
    fc.constantFrom('', ' -source 198.51.100.0/24'),
    fc.oneof({ weight: 3, arbitrary: fc.constant('auto') }, number),
    fc.constantFrom('', ' hairpin=0', ' if=vmbr0'),
  )
  .map(([off, proto, dport, source, endpoint, option]) => {
    // A list of two inner ports takes no single number.
    const end = endpoint !== 'auto' && dport.includes(',') ? 'auto' : endpoint
    return `${off}IN ACCEPT -p ${proto} -dport ${dport}${source} # NAT ${end}${option}`
  })
const rules = fc.array(rule, { maxLength: 8 })

async function outcomeOf(
  files: Record<number, readonly string[]>,
  ledger?: Outcome,
  others = '',
): Promise<Outcome> {
  const texts = Object.entries(files).map(
    ([vmid, lines]) =>
      [`firewall/${vmid}.fw`, `[OPTIONS]\nenable: 1\n[RULES]\n${lines.join('\n')}\n`] as const,
  )
  const { look } = await worldOf(caseOf(new Map([...texts, ['pvenat.conf', SETTINGS + others]])))
  return compile(ledger ? { ...look, ledger: ledgerAfter(ledger) } : look)
}

/** The ports of each rule of 105, its lines counted from the last one. */
function portsFromBelow({ translation }: Outcome): string[] {
  return translation.rules
    .filter(
      ({ scope, asked }) => scope.kind === 'guest' && scope.guest.vmid === 105 && asked?.kind === 'auto',
    )
    .map(
      ({ state, forwards }) =>
        `${state} ${formatPorts(forwards.flatMap(({ ports }) => (ports ? [ports] : [])))}`,
    )
    .reverse()
}

test('rules that come on top move no port that was given', async () => {
  await fc.assert(
    fc.asyncProperty(rules, rules, async (before, added) => {
      const first = await outcomeOf({ 105: before })
      const second = await outcomeOf({ 105: [...added, ...before] }, first)
      const given = portsFromBelow(first)
      expect(portsFromBelow(second).slice(0, given.length)).toEqual(given)
    }),
    { numRuns: 200 },
  )
}, 60_000)

test('no two rules hold one port, and rules of another guest, rights and restarts change nothing', async () => {
  await fc.assert(
    fc.asyncProperty(rules, rules, async (own, others) => {
      const files = { 105: own, 107: others }
      const outcome = await outcomeOf(files)
      const held = grantedForwards(outcome.translation.dispatch[4]).flatMap(({ proto, ports, source }) =>
        ports
          ? Array.from(
              { length: ports[1] - ports[0] + 1 },
              (_, i) =>
                `${proto} ${ports[0] + i} ${JSON.stringify(source, (_key, one: unknown) => String(one))}`,
            )
          : [],
      )
      expect(new Set(held).size).toBe(held.length)
      const alone = await outcomeOf({ 105: own })
      expect(portsFromBelow(outcome)).toEqual(portsFromBelow(alone))
      expect(portsFromBelow(await outcomeOf(files, outcome))).toEqual(portsFromBelow(outcome))
    }),
    { numRuns: 100 },
  )
}, 60_000)

test('an edit in the middle that would move a port is told with the number that keeps it', async () => {
  const web = (dport: number, tail = '') => `IN ACCEPT -p tcp -dport ${dport} # NAT auto${tail}`
  const before = await outcomeOf({ 105: [web(80, ' web'), web(70, ' middle'), web(60)] })
  const after = await outcomeOf({ 105: [web(80, ' web'), web(60)] })
  const said = movedPorts(before.translation.rules, after.translation.rules).map((one) => word(one))
  expect(said.map(({ message, proposals }) => [message, proposals])).toEqual([
    ['NAT auto would give this rule external port 20051, and gives it 20052 now', ['NAT 20052']],
  ])
})

test('the number that check tells after any edit keeps the port when it is typed', async () => {
  const edits = fc
    .tuple(rules, rules)
    .chain(([before, added]) => fc.tuple(fc.constant(before), fc.shuffledSubarray([...before, ...added])))
  let told = 0
  await fc.assert(
    fc.asyncProperty(edits, async ([before, after]) => {
      const [first, second] = [await outcomeOf({ 105: before }), await outcomeOf({ 105: after })]
      for (const one of movedPorts(first.translation.rules, second.translation.rules)) {
        const [proposal] = word(one).proposals
        if (proposal === undefined) continue
        told++
        const isMine = ({ place }: { place: Place }) => place.span.line === one.place.span.line
        // The first rule stands in line 4.
        const typed = after.map((line, i) =>
          i + 4 === one.place.span.line ? line.replace('NAT auto', proposal) : line,
        )
        const rule = (await outcomeOf({ 105: typed })).translation.rules.find(isMine)
        const was = second.translation.rules.find(isMine)
        expect([rule?.state, rule?.reason]).toEqual([was?.state, was?.reason])
        expect(
          `NAT ${formatPorts(rule?.forwards.flatMap(({ ports }) => (ports ? [ports] : [])) ?? [])}`,
        ).toBe(proposal)
      }
    }),
    { numRuns: 200 },
  )
  expect(told).toBeGreaterThan(20)
}, 60_000)

test('list, its JSON and the service mark a given port', async () => {
  const outcome = await outcomeOf({
    105: ['IN ACCEPT -p tcp -dport 80 # NAT auto', 'IN ACCEPT -p tcp -dport 81 # NAT 20058'],
  })
  const rows = listRows(outcome, '/etc/pve')
  expect(rows.map(externalCell)).toEqual([':20050/tcp given', ':20058/tcp'])
  expect(rows.map(({ given }) => given)).toEqual([true, false])
  const published = renderTexts(listTexts(outcome, '/etc/pve'), new Map())
  expect(JSON.stringify(JSON.parse(published))).toBe(JSON.stringify(JSON.parse(renderListJson(rows))))
})
