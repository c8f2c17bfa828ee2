// A cause has one sentence, whether doctor looks at the node, explain at a packet, or check at a rule.
import { expect, test } from 'vitest'
import { parseIp, type Range } from '../../src/address.ts'
import { examine } from '../../src/checks/doctor.ts'
import { word } from '../../src/diagnostic.ts'
import { explain } from '../../src/explain/explain.ts'
import { parsePacket } from '../../src/explain/packet.ts'
import { compile } from '../../src/pipeline.ts'
import { allInForce, FACTS, lookWithGateways, routedBy, worldAt } from './world.ts'

const FILES = new Map([
  ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -source 10.10.10.0/24 # NAT\n'],
  ['firewall/105.fw', '[OPTIONS]\nenable: 1\n[RULES]\nIN SSH(ACCEPT) # NAT 1022\n'],
  ['firewall/107.fw', '[OPTIONS]\nenable: 1\n[RULES]\nIN SSH(ACCEPT) # NAT 822\n'],
])
type Facts = Partial<typeof FACTS>
type World = ReturnType<typeof worldAt>

const at = (facts: Facts): World => worldAt(FILES, facts)
const withSysctls = (...pairs: [path: string, value: string][]): World =>
  at({ sysctls: new Map([...FACTS.sysctls, ...pairs]) })
const without = (...names: string[]): World =>
  at({ links: FACTS.links.filter(({ name }) => !names.includes(name)) })
const drops = (backend: 'legacy' | 'nft'): World =>
  at({ tables: { ...FACTS.tables, [backend]: { 4: '*filter\n:FORWARD DROP [0:0]\nCOMMIT\n', 6: '' } } })

/** Guest 105 has another gateway. */
function withGateway(gateway: string): World {
  const look = lookWithGateways(FILES)
  const guests = look.tree.guests.map((guest) =>
    guest.vmid === 105
      ? { ...guest, config: guest.config.replace(/gw=10\.10\.10\.1\b/, `gw=${gateway}`) }
      : guest,
  )
  const outcome = compile({ ...look, tree: { ...look.tree, guests } })
  const configs = new Map(guests.map(({ vmid, config }) => [vmid, config]))
  const { ruleset } = outcome
  return { ...outcome, installed: allInForce(ruleset), askWay: routedBy(ruleset), facts: FACTS, configs }
}

const stranger = { dev: 'vmbr1', ip: parseIp('10.10.10.105') as Range, mac: '02:00:00:00:00:99', states: [] }

const foundIn = (world: World) => examine({ ...world, sdnSnat: [], differs: [], errors: 0 })
function askedIn(world: World, words: string) {
  const packet = parsePacket(words.split(' '))
  return typeof packet === 'string' ? expect.fail(packet) : explain(world, packet)
}

const SSH = 'tcp 203.0.113.1 203.0.113.2:1022'
const FILTERED = 'tcp 203.0.113.1 203.0.113.2:822'

test.each([
  ['forwarding-off-v4', withSysctls(['net/ipv4/ip_forward', '0']), SSH],
  ['forwarding-off-interface', withSysctls(['net/ipv4/conf/vmbr1/forwarding', '0']), SSH],
  ['forward-policy-other', drops('nft'), SSH],
  ['forward-policy', drops('legacy'), 'tcp 10.10.10.105 10.20.20.110:80'],
  ['loop-missing', without('pvenat0', 'pvenat1'), 'tcp 10.10.10.105 203.0.113.2:1022'],
  ['guest-gateway', withGateway('10.10.10.254'), SSH],
  ['stranger-answers', at({ neighbours: [stranger] }), SSH],
  ['firewall-not-plugged', without('fwbr107i0'), FILTERED],
  ['bridge-nf-off', withSysctls(['net/bridge/bridge-nf-call-iptables', '0']), FILTERED],
])('%s', (id, world, words) => {
  const sentence = foundIn(world).find((one) => one.id === id)?.finding ?? expect.fail(`no ${id}`)
  const { steps } = askedIn(world, words)
  expect(steps.map((step) => step.sentence).join('\n')).toContain(sentence)
  if (id !== 'guest-gateway') return
  const told = world.translation.diagnostics.map((one) => word(one).message.slice(1))
  expect(told).toContain(sentence.slice(1, -1))
})

test('a router among the guests may send answers here: doctor and check say nothing, explain that it cannot know', () => {
  const world = withGateway('10.10.10.107')
  expect(foundIn(world)).toEqual([])
  expect(world.translation.diagnostics).toEqual([])
  expect(askedIn(world, SSH)).toMatchObject({ gets: 'unknown' })
})
