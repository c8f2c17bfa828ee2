// Pages that tell what to type for one purpose each: their rules and commands, and packets that show what the page says.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { blocksOf, commandsOf } from '../docs/commands.ts'
import { dockerDown, dockerUp, node1Plan, saveLikeGui, tamper, waitFor, type Answer } from '../lab/index.ts'
import { searchPath } from '../lab/machine.ts'
import { testNode } from './node.ts'

const IPAM = 'sdn/pve-ipam-state.json'
const ipamOf = (address: string): string =>
  JSON.stringify({
    zones: {
      lan: { subnets: { '10.20.0.0/24': { ips: { [address]: { vmid: '110', mac: 'BC:24:11:00:01:10' } } } } },
    },
  })
const NETWORK = 'name=eth0,bridge=vnet1,hwaddr=BC:24:11:00:01:10,ip=dhcp,type=veth'

const node = testNode('legacy', {
  lab: {
    bridges: [...node1Plan.bridges, { name: 'vnet1', addresses: ['10.20.0.1/24'] }],
    guests: [
      ...node1Plan.guests,
      {
        vmid: 110,
        kind: 'lxc',
        firewall: false,
        bridge: 'vnet1',
        mac: 'BC:24:11:00:01:10',
        address: '10.20.0.50/24',
        gateway: '10.20.0.1',
      },
    ],
  },
  edits: {
    '.vmlist': (text) => text.replace('"105"', '"110":{"node":"pve1","type":"lxc","version":1},"105"'),
  },
  serve: ['inet:443/tcp', '105:22,80,443/tcp', '105:443/udp', '107:80/tcp', '110:22/tcp'],
  prepare: async ({ tree }) => {
    await mkdir(join(tree, 'sdn'))
    await saveLikeGui(tree, IPAM, ipamOf('10.20.0.50'))
    await saveLikeGui(tree, 'nodes/pve1/lxc/110.conf', `arch: amd64\nhostname: sdn\nnet0: ${NETWORK}\n`)
    const pvesh = `#!/bin/sh\nPVE_TREE='${tree}' exec ${process.execPath} ${resolve('test/lab/pvetools.mjs')} pvesh "$@"\n`
    bin = await mkdtemp(join(tmpdir(), 'pvenat-pages-'))
    await writeFile(join(bin, 'pvesh'), pvesh, { mode: 0o755 })
  },
  pvenat: 'run',
})
let bin: string
afterAll(() => rm(bin, { recursive: true, force: true }))

beforeEach(async () => {
  for (const guest of [105, 107, 108, 110]) await saveLikeGui(node.tree, `firewall/${guest}.fw`, '[RULES]\n')
})

/** Puts the rules of a page into the files, in its order. */
async function follow(page: string, ...files: string[]): Promise<void> {
  const texts = blocksOf(`docs/${page}.md`).filter(({ language }) => language === 'ini')
  expect(texts.length).toBe(files.length)
  for (const [i, { text }] of texts.entries()) await saveLikeGui(node.tree, `firewall/${files[i]}.fw`, text)
}

/** Waits until a call is answered so; undefined: not at all. */
const answers = (
  from: string,
  to: string,
  wanted: object | undefined,
  { source, timeoutMs }: { source?: string; timeoutMs?: number } = {},
) =>
  waitFor(
    async () => {
      const answer: Answer = await node.call(from, to, { timeoutMs: 300, ...(source && { from: source }) })
      if (wanted) expect(answer).toMatchObject(wanted)
      return (typeof answer === 'object') === (wanted !== undefined)
    },
    timeoutMs === undefined ? {} : { timeoutMs },
  )
const says = async (...words: string[]) => (await node.pvenat.run(...words)).stderr
const type = (line: string) =>
  node.lab.exec('pve', ['sh', '-c', line], { env: { PATH: `${bin}:${searchPath}` } })

test('WireGuard on the node: clients reach guests as themselves, the internet as the node, and forwards; the port stays the node’s', async () => {
  // A socket that stays is no question of the node; the second look tells.
  await node.serve('pve:51820/udp')
  const client = node.lab.ns('200').pid
  await node.sh(`ip link add wg0 type veth peer name wg0 netns ${client}`)
  await node.lab.ip('pve', ['addr add 10.8.0.1/24 dev wg0', 'link set wg0 up'])
  await node.lab.ip('200', [
    'addr add 10.8.0.2/24 dev wg0',
    'link set wg0 up',
    ...['10.10.10.0/24', '198.51.100.7', '203.0.113.2'].map((place) => `route add ${place} via 10.8.0.1`),
  ])
  await follow('wireguard', 'cluster')
  await answers('200', '10.10.10.105:22', { server: '105', seenAs: '10.8.0.2' })
  await answers('200', '198.51.100.7:443', { server: 'inet', seenAs: '203.0.113.2' })
  await answers('105', '203.0.113.1:443', { server: 'inet', seenAs: '203.0.113.2' })
  await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 2222', 'IN ACCEPT -p udp -dport 51820 # NAT 51820')
  await answers('200', '203.0.113.2:2222', { server: '105' })
  const told = /105\.fw:\d+:\d+: error.*51820\/udp belongs to this node/
  await waitFor(async () => told.test(await says('check')), { timeoutMs: 15_000 })
  // A command believes the socket at once, the service when it sees it for the second time.
  await answers('inet', '203.0.113.2:51820/udp', { server: 'pve' }, { timeoutMs: 15_000 })
  await node.lab.unserve('pve', 'udp', 51_820)
  await node.sh('ip link del wg0')
})

test('Docker beside it: forwards and ways out pass, nothing else does, and a published port is the node’s', async () => {
  const published = '-t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80'
  await tamper(node.lab, 'legacy', `${dockerUp}$T4 ${published}`)
  await follow('docker', 'cluster', '105')
  await answers('inet', '203.0.113.2:2222', { server: '105', seenAs: '203.0.113.1' })
  await answers('105', '203.0.113.1:443', { server: 'inet', seenAs: '203.0.113.2' })
  await answers('110', '10.10.10.105:22', undefined)
  await node.save('firewall/107.fw', 'IN HTTP(ACCEPT) # NAT 8080')
  await waitFor(async () => /107\.fw:\d+:\d+: error.*8080/.test(await says('check')))
  expect((await node.pvenat.run('list', '--port', '8080')).stdout).not.toMatch(/^active/m)
  await tamper(node.lab, 'legacy', dockerDown)
})

test('several names on one 443: the proxy sees the client, and is reached from inside by the public address', async () => {
  await follow('reverse-proxy', 'cluster', '105')
  await answers(
    'inet',
    '203.0.113.2:443',
    { server: '105', seenAs: '198.51.100.7' },
    { source: '198.51.100.7' },
  )
  await answers('inet', '203.0.113.2:443/udp', { server: '105' })
  await answers('inet', '203.0.113.2:80', { server: '105', port: 80 })
  await answers('105', '10.10.10.107:80', { server: '107', seenAs: '10.10.10.105' })
  for (const guest of ['105', '107']) await answers(guest, '203.0.113.2:443', { server: '105' })
})

test('clients whose address changes: the forward follows the alias, set by hand or by the script', async () => {
  await follow('ddns', 'cluster', '105')
  const isFor = async (yes: string, no: string): Promise<void> => {
    await answers('inet', '203.0.113.2:2222', { server: '105', seenAs: yes }, { source: yes })
    await answers('inet', '203.0.113.2:2222', undefined, { source: no })
  }
  await isFor('198.51.100.7', '192.0.2.9')
  for (const line of commandsOf('docs/ddns.md')) await type(line)
  await isFor('192.0.2.9', '198.51.100.7')
  const script = blocksOf('docs/ddns.md').find(({ text }) => text.startsWith('#!/bin/sh'))?.text ?? ''
  const { exitCode } = await node.lab.exec('pve', ['sh', '-c', script], { check: false })
  expect(exitCode).toBe(1)
  await isFor('192.0.2.9', '198.51.100.7')
  await node.sh('echo 198.51.100.7 office.example >> /etc/hosts')
  await type(script)
  await isFor('198.51.100.7', '192.0.2.9')
})

test('SDN with DHCP from nothing: the guest goes out and is reached, at whatever address the IPAM has', async () => {
  await follow('sdn', 'cluster', '110')
  await answers('110', '203.0.113.1:443', { server: 'inet', seenAs: '203.0.113.2' })
  await answers('inet', '203.0.113.2:2222', { server: '110' })
  await node.lab.ip('110', [
    'addr flush dev eth0',
    'addr add 10.20.0.51/24 dev eth0',
    'route add default via 10.20.0.1',
  ])
  await saveLikeGui(node.tree, IPAM, ipamOf('10.20.0.51'))
  await answers('inet', '203.0.113.2:2222', { server: '110' })
})

test.each(['wireguard', 'docker', 'reverse-proxy', 'ddns', 'sdn'])(
  '%s says who reaches the node before the firewall is switched on',
  (page) => {
    const [first] = blocksOf(`docs/${page}.md`).filter(({ language }) => language === 'ini')
    expect(first?.text).toMatch(
      /^\[OPTIONS\]\nenable: 1[\s\S]*^IN SSH\(ACCEPT\)\nIN ACCEPT .*-p tcp -dport 8006$/m,
    )
  },
)
