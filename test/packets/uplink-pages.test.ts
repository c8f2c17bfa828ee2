// docs/two-providers.md and docs/wireguard-vps.md, done as they are written. A veth pair without ARP stands for the tunnel: keys and
// encryption are not what the pages are about, and not every kernel that runs this has WireGuard.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { blocksOf } from '../docs/commands.ts'
import { inetPlan, node1Plan, waitFor, type Lab } from '../lab/index.ts'
import { testNode } from './node.ts'

const PROVIDERS = 'docs/two-providers.md'
const VPS = 'docs/wireguard-vps.md'
const CLIENT = { from: '198.51.100.7' }
const INTERNET = '198.51.100.7:443'

/** The text of the n-th block in a language. */
function block(path: string, language: string, n = 0): string {
  const found = blocksOf(path).filter((one) => one.language === language)[n]
  if (!found) throw new Error(`${path} has no block ${n} of "${language}"`)
  return found.text
}

/** The values of a key: `Address = …`, or `address …` of interfaces(5). */
function valuesOf(text: string, key: string): string[] {
  return [...text.matchAll(new RegExp(`^ *${key}(?: = | )(.*)$`, 'gm'))].map(([, value = '']) => value)
}

/** One end of a WireGuard tunnel, as wg-quick brings it up with `Table = off`. */
async function wgUp(lab: Lab, name: string, text: string): Promise<void> {
  for (const address of valuesOf(text, 'Address')) await lab.ip(name, [`addr add ${address} dev wg0`])
  await lab.ip(name, ['link set wg0 arp off mtu 1420 up'])
  for (const line of valuesOf(text, 'PostUp')) await lab.exec(name, ['sh', '-ec', line])
}

const MAC = '02:77:67:30:00:01'

const node = testNode('nft', {
  lab: {
    uplinks: [...node1Plan.uplinks, { name: 'eth1', segment: 'eth1' }],
    inet: { segments: { ...inetPlan.segments, eth1: ['192.0.2.1/24'] }, others: ['198.51.100.7/32'] },
  },
  firewall: true,
  serve: ['105:22/tcp', 'inet:443/tcp'],
  prepare: async ({ lab }) => {
    await lab.addNode({
      ...node1Plan,
      name: 'vps',
      hostname: 'vps',
      uplinks: [{ name: 'eth0', segment: 'eth0', addresses: ['203.0.113.9/24'] }],
      bridges: [],
      guests: [],
      routes: ['default via 203.0.113.1'],
      ipForward: false,
    })
    const drop = (dev: string, network: string) =>
      `iptables-nft -t raw -A PREROUTING -i ${dev} ! -s ${network} -j DROP`
    await lab.exec('inet', [
      'sh',
      '-ec',
      `${drop('eth0', '203.0.113.0/24')}; ${drop('eth1', '192.0.2.0/24')}`,
    ])
  },
  pvenat: 'run',
})

/** Waits until guest 105 is seen as this address by the internet, or does not get there. */
const seenAs = (address: string) =>
  waitFor(
    async () => {
      const answer = await node.call('105', INTERNET, { timeoutMs: 200 })
      return typeof answer === 'object' ? answer.seenAs === address : address === 'nothing'
    },
    { what: `105 to be seen as ${address}`, timeoutMs: 5000 },
  )
const answersAt = (endpoint: string) =>
  waitFor(
    async () => {
      const answer = await node.call('inet', endpoint, { ...CLIENT, timeoutMs: 200 })
      return typeof answer === 'object' && answer.server === '105' && answer.seenAs === CLIENT.from
    },
    { what: `105 to answer at ${endpoint}`, timeoutMs: 5000 },
  )

test('two providers: the second uplink, and a forward that is reachable at both', async () => {
  const stanza = block(PROVIDERS, '')
  const [dev = ''] = valuesOf(stanza, 'auto')
  await node.lab.ip('pve', [`addr add ${valuesOf(stanza, 'address')[0]} dev ${dev}`, `link set ${dev} up`])
  for (const line of valuesOf(stanza, 'post-up')) await node.sh(line)
  await node.save('firewall/105.fw', block(PROVIDERS, 'ini').trim())
  for (const address of ['203.0.113.2', '192.0.2.2']) await answersAt(`${address}:2222`)
  expect((await node.pvenat.run('status')).stdout).toMatch(/uplinks .*eth1 by 192\.0\.2\.1/s)
  const explained = await node.pvenat.run('explain', 'tcp', '198.51.100.7', '192.0.2.2:2222')
  expect(explained.stdout).toContain('The answer leaves by eth1, by which the client came.')
})

const ways = [...readFileSync(PROVIDERS, 'utf8').matchAll(/^\| `(OUT .*?)` \| (\S+) \| (\S+) \|$/gm)]
test.each(ways.map(([, rule = '', up = '', down = '']): [string, string, string] => [rule, up, down]))(
  'two providers: %s is seen as %s, and %s while eth1 is down',
  async (rule, up, down) => {
    await node.save('firewall/105.fw', rule)
    await seenAs(up)
    await node.sh('ip link set eth1 down')
    await seenAs(down)
    await node.sh('ip link set eth1 up')
    await seenAs(up)
  },
)

test('the tables of the page are there', () => expect(ways.length).toBe(4))

test('a public address through a WireGuard VPS', async () => {
  const [far, near] = [block(VPS, '', 0), block(VPS, '', 1)]
  expect(valuesOf(near, 'Table')).toEqual(['off'])
  await node.lab.ip('pve', [
    `link add wg0 address ${MAC} type veth peer name wg0 address ${MAC} netns ${node.lab.ns('vps').pid}`,
  ])
  await wgUp(node.lab, 'vps', far)
  await wgUp(node.lab, 'pve', near)
  await node.pvenat.configure(block(VPS, 'ini', 0).replace('[nat]\n', '').trim())
  await node.save('firewall/105.fw', ...block(VPS, 'ini', 1).trim().split('\n'))
  await answersAt('203.0.113.9:2222')
  await seenAs('203.0.113.9')
  const explained = await node.pvenat.run('explain', 'tcp', '198.51.100.7', '10.66.66.2:2222')
  expect(explained.stdout).toContain('The answer leaves by wg0, by which the client came.')
  expect(await node.sh('iptables-nft-save -t mangle')).toContain('--set-mss 1380')
  await node.sh('ip link set wg0 down')
  await seenAs('nothing')
  await node.sh('ip link set wg0 up')
  await seenAs('203.0.113.9')
})
