// Something is really broken, explain names it, and what explain prints as the fix mends it when it is pasted.
import { readFile } from 'node:fs/promises'
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
  ...['firewall/cluster.fw', 'firewall/105.fw', 'firewall/107.fw', 'firewall/108.fw'],
  ...['nodes/pve1/host.fw', 'nodes/pve1/lxc/105.conf', 'pvenat.conf'],
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
  await Promise.all([
    lab.serve('inet', 'tcp', 443),
    lab.serve('105', 'tcp', 22, 80),
    lab.serve('107', 'tcp', 22, 3306),
    lab.serve('108', 'tcp', 80),
  ])
  expect(await pvenat.run('apply')).toMatchObject({ exitCode: 0 })
  for (const file of FILES) texts.set(file, await readFile(join(tree, file), 'utf8'))
})
afterAll(async () => {
  await lab.stop()
  await removeTree(tree)
})

const node = (...argv: string[]) => lab.exec('pve', argv)
const edit = (file: string, from: string | RegExp, to: string) =>
  saveLikeGui(tree, file, (texts.get(file) ?? '').replace(from, to))
/** Into a file's rules, as the first one. */
const add = (file: string, rule: string) => edit(file, '[RULES]\n', `[RULES]\n${rule}\n`)
const sysctl = (key: string, value: number) => node('sysctl', '-w', `${key}=${value}`)

interface Broken {
  breaks: () => Promise<unknown>
  /** Who asks, as whom, whom. */
  ask: [from: string, source: string, to: string]
  says: RegExp
  /** What Proxmox VE does about it, which nothing in the lab does. */
  follows?: () => Promise<unknown>
  /** What is left to put back, besides the files. */
  after?: () => Promise<unknown>
  /** There is no line that mends it. */
  hopeless?: true
}

const SSH: Broken['ask'] = ['inet', '203.0.113.1', '203.0.113.2:1022']
const OUT: Broken['ask'] = ['105', '10.10.10.105', '203.0.113.1:443']

const BROKEN: Record<string, Broken> = {
  'the jump is gone': {
    breaks: () => node('iptables-legacy', '-w', '-t', 'nat', '-D', 'PREROUTING', '-j', 'PVENAT-PREROUTING'),
    ask: SSH,
    says: /not in force: there is no jump from PREROUTING/,
  },
  'a chain was flushed': {
    breaks: () => node('iptables-legacy', '-w', '-t', 'nat', '-F', 'PVENAT-DNAT'),
    ask: SSH,
    says: /rule \d+ of chain PVENAT-DNAT is missing/,
  },
  'masquerading was flushed': {
    breaks: () => node('iptables-legacy', '-w', '-t', 'nat', '-F', 'PVENAT-POSTROUTING'),
    ask: OUT,
    says: /rule 1 of chain PVENAT-POSTROUTING is missing/,
  },
  'the loop is gone': {
    breaks: () => node('ip', 'link', 'delete', 'pvenat0'),
    ask: ['107', '10.10.10.107', '203.0.113.2:822'],
    says: /pvenat0, by which guests reach themselves, is missing/,
  },
  'the rule is switched off': {
    breaks: () => edit('firewall/105.fw', 'IN SSH', '|IN SSH'),
    ask: SSH,
    says: /105\.fw:7 asks for port 1022\/tcp, but it is not in force: the rule is switched off/,
  },
  'a rule of a group is switched off': {
    breaks: () => edit('firewall/cluster.fw', 'IN HTTP(', '|IN HTTP('),
    ask: ['inet', '203.0.113.1', '203.0.113.2:8080'],
    says: /cluster\.fw:22 asks for port 8080\/tcp.*switched off/,
  },
  'the firewall of the guest is off': {
    breaks: () => edit('firewall/105.fw', 'enable: 1', 'enable: 0'),
    ask: SSH,
    says: /the firewall of guest 105 is off/,
  },
  'the answer goes to another gateway': {
    breaks: async () => {
      await edit('nodes/pve1/lxc/105.conf', 'gw=10.10.10.1,', 'gw=10.10.10.254,')
      await lab.ip('105', ['route replace default via 10.10.10.254'])
    },
    ask: SSH,
    says: /answers goes to 10\.10\.10\.254, not to this node/,
    after: () => lab.ip('105', ['route replace default via 10.10.10.1']),
  },
  'a guest goes out by another gateway': {
    breaks: async () => {
      await edit('nodes/pve1/lxc/105.conf', 'gw=10.10.10.1,', 'gw=10.10.10.254,')
      await lab.ip('105', ['route replace default via 10.10.10.254'])
    },
    ask: OUT,
    says: /sends goes to 10\.10\.10\.254, not to this node, so nothing here translates it/,
    follows: () => lab.ip('105', ['route replace default via 10.10.10.1']),
  },
  'the node does not forward': {
    breaks: () => sysctl('net.ipv4.ip_forward', 0),
    ask: SSH,
    says: /does not forward IPv4 packets/,
  },
  'the interface of the guest is down': {
    breaks: () => node('ip', 'link', 'set', 'veth105i0', 'down'),
    ask: SSH,
    says: /veth105i0 of guest 105 \(plain\) is down/,
  },
  'somebody else answers for the address': {
    breaks: () =>
      lab.ip('pve', ['neigh replace 10.10.10.105 lladdr 02:00:00:00:00:99 dev vmbr1 nud permanent']),
    ask: SSH,
    says: /go to 02:00:00:00:00:99, but guest 105 \(plain\) is BC:24:11:00:01:05/,
  },
  'the firewall of the guest drops it': {
    breaks: () => Promise.resolve(),
    ask: ['105', '10.10.10.105', '10.10.10.107:3306'],
    says: /firewall of guest 107 \(db\) does not let it in: no rule is for it, and policy_in is DROP/,
    follows: () =>
      node(
        'iptables-legacy',
        '-w',
        '-I',
        'tap107i0-IN',
        '1',
        '-s',
        '10.10.10.105',
        '-p',
        'tcp',
        '--dport',
        '3306',
        '-j',
        'ACCEPT',
      ),
    after: () => node('iptables-legacy', '-w', '-D', 'tap107i0-IN', '1'),
  },
  'nothing lets the guest out': {
    breaks: () => edit('firewall/cluster.fw', /^OUT .*\n/m, ''),
    ask: OUT,
    says: /Nothing translates its source, so it would leave by vmbr0 as 10\.10\.10\.105/,
  },
  'the rule that lets guests out is off': {
    breaks: () => edit('firewall/cluster.fw', 'OUT ACCEPT', '|OUT ACCEPT'),
    ask: OUT,
    says: /cluster\.fw:17 would translate it, but it is not in force/,
  },
  'the other backend drops': {
    breaks: () => node('iptables-nft', '-P', 'FORWARD', 'DROP'),
    ask: SSH,
    says: /policy of FORWARD is DROP in the tables of the other backend, iptables-nft/,
  },
  'the network is isolated': {
    breaks: () => edit('nodes/pve1/host.fw', /$/, '\n[RULES]\nOUT REJECT -source 10.10.10.0/24 # NAT\n'),
    ask: OUT,
    says: /isolates this network/,
  },
  'strict reverse path filtering': {
    breaks: () => sysctl('net.ipv4.conf.all.rp_filter', 1),
    ask: ['inet', '198.51.100.7', '192.0.2.2:1022'],
    says: /Strict reverse path filtering on eth1 drops it/,
    after: async () => {
      await sysctl('net.ipv4.conf.eth1.rp_filter', 0)
      await sysctl('net.ipv4.conf.all.rp_filter', 2)
    },
  },
  'the source is another one': {
    breaks: () => edit('firewall/105.fw', 'IN SSH(ACCEPT)', 'IN SSH(ACCEPT) -source 198.51.100.7'),
    ask: SSH,
    says: /105\.fw:7 forwards port 1022\/tcp for 198\.51\.100\.7 only/,
    hopeless: true,
  },
  'not from inside': {
    breaks: () => edit('firewall/105.fw', 'NAT 1022', 'NAT 1022 hairpin=0'),
    ask: ['107', '10.10.10.107', '203.0.113.2:1022'],
    says: /105\.fw:7 forwards port 1022\/tcp for what comes from outside only/,
    hopeless: true,
  },
  'at another address only': {
    breaks: () => edit('firewall/105.fw', 'NAT 1022', 'NAT 192.0.2.2:1022'),
    ask: SSH,
    says: /105\.fw:7 forwards port 1022\/tcp at 192\.0\.2\.2 only/,
    hopeless: true,
  },
  'the comment is wrong': {
    breaks: () => edit('firewall/105.fw', 'NAT 1022', 'NAT 1022 to=10.10.10.107'),
    ask: SSH,
    says: /105\.fw:7 asks for port 1022\/tcp, but it is in error: 10\.10\.10\.107 is not an address of guest 105/,
    hopeless: true,
  },
  'nobody has the address': {
    breaks: () => Promise.resolve(),
    ask: ['inet', '203.0.113.1', '203.0.113.77:1022'],
    says: /203\.0\.113\.77 is not an address of this node/,
    hopeless: true,
  },
  'nobody claims the port': {
    breaks: () => Promise.resolve(),
    ask: ['inet', '203.0.113.1', '203.0.113.2:4711'],
    says: /No rule that is marked NAT claims 203\.0\.113\.2:4711\/tcp[^]*nothing listens/,
    hopeless: true,
  },
}

interface Said {
  gets: string
  steps: { verdict: string; sentence: string; fix?: { commands: string[]; instead?: string } }[]
}

test.each(Object.entries(BROKEN))('%s', async (_, { breaks, ask, says, follows, after, hopeless }) => {
  const [from, source, to] = ask
  const asks = async () => typeof (await lab.ask(from, 'tcp', to, { from: source, timeoutMs: 300 }))
  const explain = async (): Promise<Said> =>
    JSON.parse((await pvenat.run('explain', 'tcp', source, to, '--json')).stdout) as Said
  const isFile = (file: string) => readFile(join(tree, file), 'utf8')
  try {
    await breaks()
    const changed = await Promise.all(FILES.map(async (file) => (await isFile(file)) !== texts.get(file)))
    if (changed.includes(true)) await pvenat.run('apply')
    const [answer, said] = await Promise.all([asks(), explain()])
    expect({ answer, gets: said.gets }).toEqual({ answer: 'string', gets: 'stopped' })
    expect(said.steps.map(({ sentence }) => sentence).join('\n')).toMatch(says)
    const commands = said.steps.at(-1)?.fix?.commands ?? []
    if (hopeless) return
    expect(commands).not.toEqual([])
    const done = await fix(commands)
    expect(done.exitCode, `${commands.join('\n')}\n${done.stderr}`).toBe(0)
    await follows?.()
    await pvenat.run('apply')
    expect(await explain()).toMatchObject({ gets: 'through' })
    await waitFor(async () => (await asks()) === 'object', { what: 'the packet to get through' })
  } finally {
    for (const [file, text] of texts) await saveLikeGui(tree, file, text)
    await after?.()
    await pvenat.run('apply')
  }
})

test('another guest has the port: the packet goes there, and explain names the rule that lost', async () => {
  await add('firewall/107.fw', 'IN ACCEPT -p tcp -dport 9 # NAT 1022')
  await pvenat.run('apply')
  const { stdout, exitCode } = await pvenat.run('explain', 'tcp', '203.0.113.1', '203.0.113.2:1022')
  expect(stdout).toMatch(
    /105\.fw:7 sends it to 10\.10\.10\.105:22[^]*107\.fw:\d+ asks for it, too, and is beaten/,
  )
  expect(exitCode).toBe(0)
  for (const [file, text] of texts) await saveLikeGui(tree, file, text)
  await pvenat.run('apply')
})

test('what makes no sense is said in one line', async () => {
  for (const words of [
    ['tcp', '1.2.3.4'],
    ['tcp', '1.2.3.4', '203.0.113.2'],
    ['tcp', '1.2.3.4', '[2001:db8::1]:80'],
    ['icmp', '1.2.3.4', '203.0.113.2:80'],
    ['quic', '1.2.3.4', '203.0.113.2:80'],
  ]) {
    const { stderr, exitCode } = await pvenat.run('explain', ...words)
    expect({ exitCode, lines: stderr.trim().split('\n').length }).toEqual({ exitCode: 2, lines: 1 })
  }
})
