// Whoever may edit the network of one guest may type any address: what a config says of somebody else's does not count.
import { expect, test } from 'vitest'
import { formatRange } from '../../src/address.ts'
import { formatRight, NO_RIGHTS } from '../../src/nat/rights.ts'
import { compile } from '../../src/pipeline.ts'
import { word } from '../../src/diagnostic.ts'
import { lookAt, MAC, type World } from './world.ts'

const conf = (vmid: 107 | 108, address: string, bridge = 'vmbr1') =>
  `net0: virtio=${MAC[vmid]},bridge=${bridge}\nipconfig0: ip=${address}/24`
const RULES = '[RULES]\nIN SSH(ACCEPT) # NAT 822'

/** Where port 822 leads, and what is said. */
function outcome(world: World, rights: string[] = []): { to: string[]; says: string[] } {
  const look = { ...lookAt(world), ledger: { ...NO_RIGHTS, rights } }
  const { dispatch, diagnostics } = compile(look).translation
  const to = dispatch[4].common.map(
    ({ inner, rule: { scope } }) =>
      `${scope.kind === 'guest' ? scope.guest.vmid : scope.kind} ${formatRange(inner)}`,
  )
  return { to, says: diagnostics.map((one) => `${one.place.file}: ${word(one).message}`) }
}

const both = { 107: conf(107, '10.10.10.9'), 108: conf(108, '10.10.10.9') }
const held = (vmid: number) => [`${vmid} inner - any 10.10.10.9`]

test('of two guests with one address the lower VMID has it', () => {
  expect(outcome({ conf: both, fw: { 107: RULES } }).to).toEqual(['107 10.10.10.9'])
  const { to, says } = outcome({ conf: both, fw: { 108: RULES } })
  expect(to).toEqual([])
  expect(says).toEqual([expect.stringMatching(/108\.fw: .*10\.10\.10\.9 .* guest 107 has it in its config/)])
})

test('but not when the other one has NAT in force with it', () => {
  const fw = { 107: RULES.replace('822', '823'), 108: RULES }
  expect(outcome({ conf: both, fw }, held(108)).to).toEqual(['108 10.10.10.9'])
  expect(outcome({ conf: both, fw }, held(107)).to).toEqual(['107 10.10.10.9'])
  // It lies with somebody who is gone.
  expect(outcome({ conf: both, fw }, held(900)).to).toEqual(['107 10.10.10.9'])
})

test('nor when the settings give it to the other one', () => {
  const { to } = outcome(
    { conf: both, fw: { 107: RULES, 108: RULES }, settings: { 108: '10.10.10.9' } },
    held(107),
  )
  expect(to).toEqual(['108 10.10.10.9'])
})

const abroad = { conf: { 107: conf(107, '10.10.10.9') }, elsewhere: { 200: conf(108, '10.10.10.9') } }

test.each([
  ['by its own config', RULES, /guest 200 on node pve2 has it in its config/],
  ['by the destination of its rule', RULES.replace('# NAT', '-dest 10.10.10.9 # NAT'), /not an address of/],
])('nor does a lower VMID get the address of a guest on another node, %s', (_, rules, reason) => {
  const fw = { 107: rules }
  const { to, says } = outcome({ ...abroad, fw })
  expect(to).toEqual([])
  expect(says).toEqual([expect.stringMatching(reason)])
  expect(outcome({ ...abroad, fw }, held(107)).to).toEqual(['107 10.10.10.9'])
  expect(outcome({ ...abroad, fw, settings: { 107: '10.10.10.9' } }).to).toEqual(['107 10.10.10.9'])
})

test('two guests of two nodes keep an address from each other until one has a right to it, which its own node alone knows', () => {
  const here = (vmid: 107 | 108) => ({
    conf: { [vmid]: conf(vmid, '10.10.10.9') },
    elsewhere: { [215 - vmid]: conf(vmid === 107 ? 108 : 107, '10.10.10.9') },
    fw: { [vmid]: RULES },
  })
  for (const vmid of [107, 108] as const) {
    expect(outcome(here(vmid)).to).toEqual([])
    const ledger = { ...NO_RIGHTS, rights: held(vmid) }
    const { rights, dispatch } = compile({ ...lookAt(here(vmid)), ledger }).translation
    expect(dispatch[4].common).toHaveLength(1)
    expect(rights.map(formatRight)).toContain(held(vmid)[0])
    expect(outcome({ ...here(vmid), settings: { [vmid]: '10.10.10.9' } }).to).toEqual([`${vmid} 10.10.10.9`])
  }
})

test('the same address on a bridge of another node that leads nowhere is another one', () => {
  const fw = { 107: RULES }
  expect(outcome({ ...abroad, fw, enclosed: ['vmbr1'] }).to).toEqual(['107 10.10.10.9'])
  expect(outcome({ ...abroad, fw, enclosed: ['web0'] }).to).toEqual([])
  const lower = { conf: { 107: conf(107, '10.10.10.9') }, elsewhere: { 106: conf(108, '10.10.10.9') } }
  expect(outcome({ ...lower, fw }).to).toEqual([])
  expect(outcome({ ...lower, fw, enclosed: ['vmbr1'] }).to).toEqual(['107 10.10.10.9'])
})

test('an address that a guest typed into its rules and has in force is not for others to write into their config', () => {
  const world = {
    conf: { 107: conf(107, '10.10.10.9'), 108: `net0: virtio=${MAC[108]},bridge=vmbr1` },
    fw: { 107: RULES, 108: RULES.replace('# NAT', '-dest 10.10.10.9 # NAT') },
  }
  const { to, says } = outcome(world, held(108))
  expect(to).toEqual(['108 10.10.10.9'])
  expect(says).toEqual([expect.stringMatching(/107\.fw: .*guest 108 has NAT in force with it/)])
})

test.each([
  ['another bridge', '10.20.0.9', 'vmbr1'],
  ['the internet', '8.8.8.8', 'vmbr1'],
  ['the external network', '203.0.113.77', 'vmbr1'],
])('an address in %s does not count', (_, address, bridge) => {
  // Somebody is on web0, so it is known to be a bridge.
  const world = {
    conf: { 107: conf(107, address, bridge), 108: conf(108, '10.20.0.8', 'web0') },
    fw: { 107: RULES },
  }
  const { to, says } = outcome(world)
  expect(to).toEqual([])
  expect(says).toEqual([expect.stringMatching(/107\.fw: .*it is in no network on vmbr1/)])
})

test('a guest in the external network is told so', () => {
  const { says } = outcome({ conf: { 107: conf(107, '203.0.113.77', 'vmbr0') }, fw: { 107: RULES } })
  expect(says).toEqual([expect.stringMatching(/203\.0\.113\.77 sits in the external network vmbr0/)])
})
