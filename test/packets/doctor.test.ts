// Each finding of doctor by really breaking the thing; the printed fix, pasted, mends it, and doctor has nothing more to say.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  copyTree,
  createLab,
  loadPveFirewall,
  makeFixer,
  node1Plan,
  node1Tree,
  Pvenat,
  removeTree,
  saveLikeGui,
  waitFor,
  type Lab,
  type Result,
} from '../lab/index.ts'

let lab: Lab
let tree: string
let pvenat: Pvenat
let fix: (lines: readonly string[]) => Promise<Result>
const texts = new Map<string, string>()
const FILES = [
  ...['firewall/cluster.fw', 'firewall/105.fw', 'pvenat.conf', 'nodes/pve1/lxc/105.conf'],
  ...['nodes/pve1/lxc/108.conf', 'nodes/pve1/qemu-server/107.conf'],
]

beforeAll(async () => {
  lab = await createLab({
    uplinks: [...node1Plan.uplinks, { name: 'eth1', segment: 'eth1', addresses: ['192.0.2.2/24'] }],
    routes: [...node1Plan.routes, 'default via 192.0.2.1 dev eth1 metric 500'],
    inet: {
      segments: { eth0: ['203.0.113.1/24'], eth1: ['192.0.2.1/24'] },
      others: ['198.51.100.7/32'],
    },
  })
  tree = await copyTree(node1Tree)
  pvenat = new Pvenat(lab, 'legacy', tree)
  await pvenat.configure()
  await loadPveFirewall(lab, 'legacy', node1Tree)
  fix = await makeFixer(lab, pvenat, tree)
  await lab.ip('inet', ['route add 10.10.10.0/24 via 203.0.113.2'])
  await Promise.all([
    lab.serve('inet', 'tcp', 443),
    lab.serve('105', 'tcp', 22),
    lab.serve('107', 'tcp', 22),
    lab.serve('108', 'tcp', 80),
  ])
  expect(await pvenat.run('apply')).toMatchObject({ exitCode: 0 })
  for (const file of FILES) texts.set(file, await readFile(join(tree, file), 'utf8'))
})
afterAll(async () => {
  await lab.stop()
  await removeTree(tree)
})

interface Finding {
  id: string
  severity: string
  finding: string
  restsOn: string[]
  fix: string[]
}

const node = (...argv: string[]) => lab.exec('pve', argv)
const legacy = (...argv: string[]) => node('iptables-legacy', '-w', ...argv)
const nft = (...argv: string[]) => node('iptables-nft', ...argv)
const sysctl = (key: string, value: number) => node('sysctl', '-w', `${key}=${value}`)
const edit = (file: string, from: string | RegExp, to: string) =>
  saveLikeGui(tree, file, (texts.get(file) ?? '').replace(from, to))
const doctor = async (): Promise<Finding[]> =>
  JSON.parse((await pvenat.run('doctor', '--json')).stdout) as Finding[]

interface Broken {
  breaks: () => Promise<unknown>
  severity: 'error' | 'warning'
  /** Who asks whom, and what the answer is while it is broken, and afterwards. */
  ask?: { from: string; as?: string; to: string; broken?: object | 'none'; mended?: object }
  /** What Proxmox VE does about the fix, which nothing in the lab does. */
  follows?: () => Promise<unknown>
  after?: () => Promise<unknown>
}

const SSH = { from: 'inet', to: '203.0.113.2:1022', broken: 'none', mended: { server: '105' } } as const
const OUT = { from: '107', to: '203.0.113.1:443', mended: { seenAs: '203.0.113.2' } }

const BROKEN: Record<string, Broken> = {
  'forwarding-off-v4': { breaks: () => sysctl('net.ipv4.ip_forward', 0), severity: 'error', ask: SSH },
  'rp-filter-off': {
    breaks: async () => {
      await sysctl('net.ipv4.conf.all.rp_filter', 0)
      await lab.exec('107', ['ip', 'neigh', 'flush', 'all'])
    },
    severity: 'error',
    follows: () => lab.exec('107', ['ip', 'neigh', 'flush', 'all']),
    ask: OUT,
  },
  'rp-filter-strict': {
    breaks: () => sysctl('net.ipv4.conf.all.rp_filter', 1),
    severity: 'error',
    ask: {
      from: 'inet',
      as: '198.51.100.7',
      to: '192.0.2.2:1022',
      broken: 'none',
      mended: { server: '105' },
    },
    after: async () => {
      await sysctl('net.ipv4.conf.eth1.rp_filter', 0)
      await sysctl('net.ipv4.conf.vmbr0.rp_filter', 0)
      await sysctl('net.ipv4.conf.all.rp_filter', 2)
    },
  },
  'bridge-nf-off': {
    breaks: () => sysctl('net.bridge.bridge-nf-call-iptables', 0),
    severity: 'warning',
    ask: { from: '105', to: '10.10.10.107:22', broken: { server: '107' } },
  },
  'forward-policy-other': {
    breaks: () => nft('-P', 'FORWARD', 'DROP'),
    severity: 'error',
    ask: SSH,
  },
  'not-in-force': {
    breaks: () => legacy('-t', 'nat', '-F', 'PVENAT-DNAT'),
    severity: 'error',
    ask: SSH,
  },
  'loop-missing': {
    breaks: () => node('ip', 'link', 'delete', 'pvenat0'),
    severity: 'error',
    ask: { from: '107', to: '203.0.113.2:822', broken: 'none', mended: { server: '107' } },
  },
  'own-leftovers': {
    breaks: async () => {
      await nft('-t', 'nat', '-N', 'PVENAT-DNAT')
      await nft('-t', 'nat', '-N', 'PVENAT-PREROUTING')
      await nft('-t', 'nat', '-A', 'PVENAT-PREROUTING', '-j', 'PVENAT-DNAT')
      await nft('-t', 'nat', '-I', 'PREROUTING', '-j', 'PVENAT-PREROUTING')
    },
    severity: 'error',
    ask: { ...SSH, broken: { server: '105' } },
  },
  'foreign-forward': {
    breaks: () =>
      nft(
        ...'-t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 1022 -j DNAT --to 10.10.10.108:80'.split(' '),
        '-m',
        'comment',
        '--comment',
        `it's "mine" $(touch /run/owned)`,
      ),
    severity: 'error',
    ask: { from: 'inet', to: '203.0.113.2:1022', mended: { server: '105' } },
  },
  'foreign-masquerade': {
    breaks: async () => {
      const rule = 'OUT ACCEPT -source dc/lan -dest 198.51.100.7 # NAT none\n'
      await edit('firewall/cluster.fw', /^OUT/m, `${rule}OUT`)
      await pvenat.run('apply')
      await legacy(...'-t nat -A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE'.split(' '))
    },
    severity: 'error',
    ask: {
      from: '105',
      to: '198.51.100.7:443',
      broken: { seenAs: '203.0.113.2' },
      mended: { seenAs: '10.10.10.105' },
    },
  },
  'sdn-snat': {
    breaks: async () => {
      const words = '-t nat -A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j SNAT --to-source 203.0.113.2'
      await legacy(...words.split(' '))
      const subnet = { vnet: 'vmbr1', snat: 1, rule: `iptables-legacy -w ${words}` }
      await mkdir(join(tree, 'sdn'), { recursive: true })
      const config = JSON.stringify({ subnets: { ids: { 'lan-10.10.10.0-24': subnet } } })
      await writeFile(join(tree, 'sdn/.running-config'), config)
    },
    severity: 'warning',
  },
  'two-backends': {
    breaks: () => nft(...'-t nat -A POSTROUTING -s 172.17.0.0/16 -o docker0 -j MASQUERADE'.split(' ')),
    severity: 'warning',
    after: () => legacy(...'-t nat -D POSTROUTING -s 172.17.0.0/16 -o docker0 -j MASQUERADE'.split(' ')),
  },
  'guest-gateway': {
    breaks: async () => {
      await edit('nodes/pve1/lxc/105.conf', 'gw=10.10.10.1,', 'gw=10.10.10.254,')
      await lab.ip('105', ['route replace default via 10.10.10.254'])
    },
    severity: 'error',
    ask: SSH,
    follows: () => lab.ip('105', ['route replace default via 10.10.10.1']),
  },
  'address-twice': {
    breaks: () => edit('nodes/pve1/lxc/108.conf', 'ip=10.10.10.108/24', 'ip=10.10.10.105/24'),
    severity: 'error',
  },
  'mac-twice': {
    breaks: () =>
      edit(
        'nodes/pve1/qemu-server/107.conf',
        /BC:24:11:00:01:07,bridge=vmbr1/,
        'BC:24:11:00:01:05,bridge=vmbr1',
      ),
    severity: 'error',
    // The guest of the lab keeps its MAC.
    follows: () => edit('nodes/pve1/qemu-server/107.conf', /$/, ''),
  },
  'stranger-answers': {
    breaks: () =>
      lab.ip('pve', ['neigh replace 10.10.10.105 lladdr 02:00:00:00:00:99 dev vmbr1 nud permanent']),
    severity: 'error',
    ask: SSH,
  },
  'firewall-not-plugged': {
    breaks: () => edit('nodes/pve1/lxc/105.conf', 'bridge=vmbr1,', 'bridge=vmbr1,firewall=1,'),
    severity: 'warning',
    follows: () =>
      lab.ip('pve', [
        ...['link add fwbr105i0 type bridge', 'link add fwln105i0 type veth peer name fwpr105p0'],
        ...[
          'link set fwbr105i0 up',
          'link set veth105i0 master fwbr105i0',
          'link set fwln105i0 master fwbr105i0 up',
        ],
        'link set fwpr105p0 master vmbr1 up',
      ]),
    ask: { ...SSH, broken: { server: '105' } },
    after: () =>
      lab.ip('pve', ['link del fwln105i0', 'link set veth105i0 master vmbr1', 'link del fwbr105i0']),
  },
  'service-hidden': {
    breaks: async () => {
      const rule = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 22 # NAT 9105\n'
      await edit('firewall/cluster.fw', /^OUT/m, `${rule}OUT`)
      const server = lab.spawn('pve', [
        process.execPath,
        '-e',
        'require("net").createServer().listen(9105, () => console.log("up"))',
      ])
      await server.says(/up/)
    },
    severity: 'warning',
    ask: { from: 'inet', to: '203.0.113.2:9105', mended: { server: '105' } },
  },
  'pve-unreadable': {
    breaks: () => rename(join(tree, 'local'), join(tree, 'gone')),
    severity: 'error',
  },
  rules: {
    breaks: () => edit('firewall/105.fw', 'NAT 1022', 'NAT 1022x'),
    severity: 'warning',
    follows: () => edit('firewall/105.fw', /$/, ''),
  },
}

/** What is not said of this node while nothing is broken but that the service does not run. */
const told = async () => (await doctor()).map(({ id }) => id).filter((id) => id !== 'service-stopped')

test.each(Object.entries(BROKEN))('%s', async (id, { breaks, severity, ask, follows, after }) => {
  const asks = () =>
    ask && lab.ask(ask.from, 'tcp', ask.to, { timeoutMs: 300, ...(ask.as ? { from: ask.as } : {}) })
  try {
    await breaks()
    const changed = await Promise.all(
      FILES.map(async (file) => (await readFile(join(tree, file), 'utf8')) !== texts.get(file)),
    )
    if (changed.includes(true)) await pvenat.run('apply')
    const [answer, all] = await Promise.all([asks(), doctor()])
    const mine = all.filter((one) => one.id === id)
    expect(mine[0], JSON.stringify(all)).toMatchObject({ id, severity })
    expect(mine[0]?.restsOn).not.toEqual([])
    if (ask?.broken === 'none') expect(typeof answer).toBe('string')
    else if (ask?.broken) expect(answer).toMatchObject(ask.broken)
    const lines = mine.flatMap((one) => one.fix)
    expect(lines).not.toEqual([])
    const { exitCode, stderr } = await fix(lines)
    if (id !== 'rules') expect(exitCode, `${lines.join('\n')}\n${stderr}`).toBe(0)
    await follows?.()
    await pvenat.run('apply')
    expect(await told()).toEqual([])
    // Its first packet may be lost while the node looks for its neighbours again.
    const isMended = async () => expect(await asks()).toMatchObject(ask?.mended ?? {})
    if (ask?.mended) await waitFor(() => isMended().then(() => true))
    expect((await node('ls', '/run')).stdout).not.toContain('owned')
  } finally {
    for (const [file, text] of texts) await saveLikeGui(tree, file, text)
    await after?.()
    await pvenat.run('apply')
  }
})

test('Docker’s policy is told and does no harm', async () => {
  await legacy('-P', 'FORWARD', 'DROP')
  await pvenat.run('apply')
  expect(await doctor()).toContainEqual(expect.objectContaining({ id: 'forward-policy', severity: 'info' }))
  expect(await lab.ask('inet', 'tcp', '203.0.113.2:1022')).toMatchObject({ server: '105' })
  const { stdout } = await pvenat.run('explain', 'tcp', '203.0.113.1', '203.0.113.2:1022')
  expect(stdout).toMatch(/policy of FORWARD is DROP.*pvenat lets this packet pass/)
  await legacy('-P', 'FORWARD', 'ACCEPT')
  await pvenat.run('apply')
})

test('a service that runs: nothing to say', async () => {
  expect(await doctor()).toMatchObject([{ id: 'service-stopped', fix: ['systemctl enable --now pvenat'] }])
  expect(await pvenat.run('doctor')).toMatchObject({ exitCode: 1 })
  // It says nothing: all is in force.
  lab.spawn('pve', pvenat.argv('run'))
  await waitFor(async () => (await pvenat.run('doctor')).exitCode === 0, { what: 'doctor to be content' })
  expect((await pvenat.run('doctor')).stdout).toBe('nothing on this node keeps NAT from working')
})
