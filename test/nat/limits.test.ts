// What one guest may ask for: the line that goes beyond a limit is told, neither it nor those above it are in force, and others never notice.
import { expect, test } from 'vitest'
import { word } from '../../src/diagnostic.ts'
import { GUEST_LIMITS, SET_MEMBERS } from '../../src/nat/limits.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { plainGuest, run, type HostileTree } from '../hostile/node.ts'

const on = (lines: readonly string[]) => `[OPTIONS]\nenable: 1\n[RULES]\n${lines.join('\n')}`
const times = (n: number, line: (i: number) => string) => Array.from({ length: n }, (_, i) => line(i))
const host = (i: number) => `198.51.${i >> 8}.${i & 255}`
const NEIGHBOUR = on(['IN SSH(ACCEPT) # NAT 60999', 'OUT ACCEPT # NAT'])

/** How many rules of guest 105 are in force, and what is said of which lines. */
function outcome(lines: readonly string[], before = ''): { active: number; says: string[] } {
  const guests: HostileTree['guests'] = [plainGuest(105, `${before}${on(lines)}`), plainGuest(106, NEIGHBOUR)]
  const { rules, diagnostics } = run({ cluster: '[OPTIONS]\nenable: 1\n', host: '', guests }).outcome
    .translation
  const of = (vmid: number) =>
    rules.filter(
      ({ scope, state }) => scope.kind === 'guest' && scope.guest.vmid === vmid && state === 'active',
    )
  expect(of(106)).toHaveLength(2)
  const first = 4 + (before.match(/\n/g)?.length ?? 0)
  const says = diagnostics
    .filter(({ code }) => code !== 'set-empty')
    .map((one) => `${one.place.span.line - first}: ${shortened(word(one).message)}`)
  return { active: of(105).length, says }
}

const shortened = (message: string) =>
  message.replace(
    /^guest 105 \(guest105\) has more than \d+ (.*); this rule and its rules before it are not in force$/,
    'too many $1',
  )

/** The rules of guest 105, which has a block of 400 ports. */
function translated(lines: readonly string[]) {
  const settings = { ...DEFAULT_SETTINGS, guestBlock: { ports: [20_000, 59_999] as const, size: 400 } }
  const tree = { cluster: '[OPTIONS]\nenable: 1\n', host: '', guests: [plainGuest(105, on(lines))], settings }
  return run(tree).outcome.translation.rules
}

const v4 = (ports: string, i: number) => `IN ACCEPT -source ${host(i)} -p tcp # NAT ${ports}`

test('rules', () => {
  const { rules } = GUEST_LIMITS
  const lines = times(rules + 5, (i) => v4('9200', i))
  expect(outcome(lines.slice(0, rules))).toEqual({ active: rules, says: [] })
  expect(outcome(lines)).toEqual({
    active: rules,
    says: ['4: too many rules marked NAT'],
  })
})

test('rules of a group count from its last one, and the first one beyond the limit is told', () => {
  const { rules } = GUEST_LIMITS
  const cluster = `[OPTIONS]\nenable: 1\n[group many]\n${times(3, (i) => v4('9200', i)).join('\n')}\n`
  const own = on(['GROUP many', ...times(rules - 2, (i) => v4('9300', i))])
  const { translation } = run({ cluster, host: '', guests: [plainGuest(105, own)] }).outcome
  const limits = translation.diagnostics.filter(({ code }) => code === 'limit')
  expect(limits.map(({ place }) => `${place.file}:${place.span.line}`)).toEqual(['firewall/cluster.fw:4'])
  const active = translation.rules.filter(({ state }) => state === 'active')
  expect(active.slice(0, 2).map(({ place }) => place.span.line)).toEqual([5, 6])
  expect(active).toHaveLength(rules)
})

test('a set that is too large is told with its own rule, and the rules above it are in force', () => {
  const entries = times(SET_MEMBERS + 1, (i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
  const cluster = `[OPTIONS]\nenable: 1\n[IPSET big]\n${entries.join('\n')}\n`
  const own = on([v4('9200', 1), 'IN ACCEPT -source +big -p tcp # NAT 9201'])
  const { translation } = run({ cluster, host: '', guests: [plainGuest(105, own)] }).outcome
  expect(translation.rules.map(({ state }) => state)).toEqual(['active', 'error'])
  expect(translation.diagnostics.map((one) => [one.place.span.line, word(one).message])).toEqual([
    [5, "not translated: ipset 'big' has more than 65536 entries"],
  ])
})

test('rules that are switched off count', () => {
  const { rules } = GUEST_LIMITS
  const off = times(rules, (i) => `|${v4('9200', i)}`)
  expect(outcome([v4('9200', 1), ...off])).toMatchObject({
    active: 0,
    says: [expect.stringMatching(/^0: /)],
  })
})

test('a rule on top of a full file moves no port that NAT auto gave, and takes none from older rules', () => {
  const { rules } = GUEST_LIMITS
  // All begin at one port of the block, so each of them rests on the rules below it.
  const lines = times(
    rules,
    (i) => `IN ACCEPT -source ${host(i)} -p tcp -dport ${22 + 300 * (i % 200)} # NAT auto`,
  )
  const portsOf = (own: readonly string[]) =>
    translated(own).flatMap(({ source, forwards, state }) =>
      state === 'active' ? [`${source} ${forwards[0]?.ports?.[0]}`] : [],
    )
  const before = portsOf(lines)
  expect(before).toHaveLength(rules)
  expect(
    portsOf(['IN ACCEPT -p tcp -dport 22 # NAT auto', 'IN ACCEPT -p tcp -dport 23 # NAT auto', ...lines]),
  ).toEqual(before)
})

test('forwards: each range of ports and protocol is one', () => {
  const list = times(50, (i) => String(9200 + 2 * i)).join()
  const fit = Math.floor(GUEST_LIMITS.forwards / 50)
  const lines = times(fit + 3, (i) => v4(list, i))
  expect(outcome(lines.slice(0, fit))).toEqual({ active: fit, says: [] })
  expect(outcome(lines)).toEqual({
    active: fit,
    says: [`2: too many forwards (a protocol and a range of ports each)`],
  })
})

test('exemptions times forwards', () => {
  const forwards = times(99, (i) => v4('9200-59000', i))
  const holes = times(60, (i) => `IN ACCEPT -source ${host(i)} -p tcp -dport ${9300 + i} # NAT none`)
  const { says, active } = outcome([...holes, ...forwards])
  const fit = Math.floor(GUEST_LIMITS.pieces / 99) - 1
  expect(says).toEqual([`${59 - fit}: too many forwards cut by exemptions`])
  expect(active).toBe(99 + fit)
})

test('OUT rules', () => {
  const ports = times(15, (i) => String(80 + i)).join()
  const fit = Math.floor(GUEST_LIMITS.egresses / 15)
  const lines = times(fit + 2, (i) => `OUT ACCEPT -dest ${host(i)} -p tcp -dport ${ports} # NAT`)
  expect(outcome(lines).says).toEqual([`1: too many OUT rules (a protocol and a range of ports each)`])
})

test('networks in sources; a set that many rules name counts once', () => {
  const set = (name: string, n: number) => `[IPSET ${name}]\n${times(n, (i) => host(2 * i)).join('\n')}\n`
  const rule = (name: string) => (i: number) => `IN ACCEPT -source +${name} -p tcp # NAT ${9200 + i}`
  expect(outcome(times(200, rule('fits')), set('fits', GUEST_LIMITS.members)).says).toEqual([])
  expect(outcome(times(3, rule('big')), set('big', GUEST_LIMITS.members + 1))).toEqual({
    active: 0,
    says: ['2: too many networks in sources and destinations'],
  })
})

test('ports in narrow ranges', () => {
  const fit = GUEST_LIMITS.ports / 256
  const lines = times(fit + 1, (i) => `IN ACCEPT -source ${host(i)} -p tcp # NAT 9344-9599`)
  expect(outcome(lines)).toEqual({
    active: fit,
    says: [`0: too many external ports`],
  })
})

test('no more than a hundred ranges of ports stand in one comment', () => {
  const { says } = outcome([v4(times(101, (i) => String(9200 + 2 * i)).join(), 1)])
  expect(says).toEqual([expect.stringMatching(/it names more than 100 ranges of ports/)])
})

test('of a file that is all wrong the first hundred errors are told', () => {
  const { says } = outcome(times(200, () => 'IN ACCEPT # NAT'))
  expect(says).toHaveLength(101)
  expect(says.at(-1)).toMatch(/there is more to say about this file/)
})
