/** A program of the guest: one node under one firewall and the other, taken from stage to stage, and asked in each. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  copyTree,
  createLab,
  loadPveFirewall,
  makeFixer,
  node1Plan,
  node1Tree,
  Pvenat,
  saveLikeGui,
  snapshot,
  standIn,
  waitFor,
  type Lab,
  type Proto,
} from '../lab/index.ts'
import { loadDaemon, unloadDaemon, unloadPveFirewall } from './daemon.ts'
import { ANSWER_MS, ask, patiently, SLOW_MS, tell } from './guest.ts'
import { silent } from './stage.ts'
import { ALL, BEHIND, DIRECT, FOREIGN } from './table.ts'

const tree = await copyTree(node1Tree)
const HOST = 'nodes/pve1/host.fw'
type Change = [from: string | RegExp, to: string]
const ON: Change = ['enable: 1\n', 'enable: 1\nnftables: 1\n']
const OFF: Change = ['nftables: 1\n', '']
/** The nftables firewall has no place for the accept that a rule with -sport needs. */
const WITHOUT_SPORT: Change = ['-dport 22 -sport 822 # NAT ssh in', '-dport 22 # NAT 822']
const WITH_SPORT: Change = ['-dport 22 # NAT 822', '-dport 22 -sport 822 # NAT ssh in']

async function edit(path: string, ...changes: Change[]): Promise<void> {
  let text = await readFile(join(tree, path), 'utf8')
  for (const [from, to] of changes) text = text.replace(from, to)
  await saveLikeGui(tree, path, text)
}

const SERVERS: Record<string, Record<Proto, number[]>> = {
  inet: { tcp: [443], udp: [53] },
  pve: { tcp: [8006], udp: [] },
  105: { tcp: [22], udp: [] },
  106: { tcp: [22], udp: [] },
  107: { tcp: [22, 3306], udp: [] },
  108: { tcp: [80], udp: [5003] },
  200: { tcp: [822], udp: [] },
}

/** A VM that was started in nftables mode: with firewall=1, and on the bridge itself. */
const NEW_VM = {
  vmid: 106,
  kind: 'qemu',
  firewall: false,
  mac: 'BC:24:11:00:01:06',
  bridge: 'vmbr1',
  address: '10.10.10.106/24',
  gateway: '10.10.10.1',
} as const

async function build(): Promise<Lab> {
  for (const guest of ['lxc/105', 'lxc/108', 'qemu-server/107'])
    await edit(`nodes/pve1/${guest}.conf`, [/ip=10\.10\.10\.(\d+)\/24/, '$&,ip6=fd10::$1/64'])
  await edit(
    'firewall/cluster.fw',
    ['[ALIASES]', '[ALIASES]\n\nlan6 fd10::/64'],
    ['[RULES]\n', '[RULES]\n\nOUT ACCEPT -source dc/lan6 # NAT\n'],
  )
  await edit('.vmlist', ['"107"', '"106":{"node":"pve1","type":"qemu","version":12},"107"'])
  await saveLikeGui(
    tree,
    'nodes/pve1/qemu-server/106.conf',
    'name: new\nipconfig0: ip=10.10.10.106/24,gw=10.10.10.1\nnet0: virtio=BC:24:11:00:01:06,bridge=vmbr1,firewall=1\n',
  )
  await edit('firewall/107.fw', WITHOUT_SPORT)
  await saveLikeGui(
    tree,
    'firewall/106.fw',
    '[OPTIONS]\n\nenable: 1\n\n[RULES]\n\nIN SSH(ACCEPT) # NAT 1622\n',
  )
  const lab = await createLab({ guests: [...node1Plan.guests, NEW_VM], bridgeNf: false })
  await Promise.all(
    Object.entries(SERVERS).flatMap(([name, ports]) =>
      (['tcp', 'udp'] as const).map((proto) => lab.serve(name, proto, ...ports[proto])),
    ),
  )
  return lab
}

const lab = await build()
const pvenat = new Pvenat(lab, 'legacy', tree)
const sh = async (script: string): Promise<string> => (await lab.exec('pve', ['sh', '-ec', script])).stdout

/** Waits until the service has put into force what the files ask for now. */
async function settled(firewall: 'iptables' | 'nftables'): Promise<void> {
  await waitFor(
    async () => {
      const [text] = await lab.ns('pve').read(['/run/pvenat/status.json'])
      const status = JSON.parse(text ?? '{}') as { inStep?: boolean; firewall?: string }
      return status.inStep === true && status.firewall === firewall
    },
    { timeoutMs: SLOW_MS, intervalMs: 500, what: `the ${firewall} firewall` },
  )
}

const setBridgeNf = (value: number): Promise<void> =>
  lab.ns('pve').setSysctls({
    'net/bridge/bridge-nf-call-iptables': value,
    'net/bridge/bridge-nf-call-ip6tables': value,
  })
/** Table bridge pvenat as nft shows it; its handle is another one when it was made anew. */
const table = (): Promise<string> => sh('nft -a list ruleset bridge | sed -n "/table bridge pvenat/,/^}/p"')
/** Doctor's fix of the finding about it. A node that is this slow may not answer doctor in time: it is asked again. */
const fixOfTable = async (): Promise<string[]> => {
  const { stdout } = await pvenat.run('doctor', '--json')
  const found = JSON.parse(stdout) as { id: string; fix: string[] }[]
  return found.flatMap(({ id, fix }) => (id === 'bridge-zone' ? fix : []))
}
const hasTable = async (): Promise<boolean> => (await table()).includes('meta ibrname "fwbr*" ct zone set 1')

const OF_BRIDGES = /bridge-nf-call/
const state = async (): Promise<string> =>
  (await snapshot(lab))
    .split('\n')
    .filter((line) => !OF_BRIDGES.test(line))
    .join('\n')

/** Lines of one text that are not in the other. */
function difference(one: string, other: string): string {
  const [before, after] = [one.split('\n'), other.split('\n')]
  const gone = before.filter((line) => !after.includes(line)).map((line) => `- ${line}`)
  return [...gone, ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`)].join('\n')
}

await pvenat.configure('interval = 5')
// Its sysctls come with the module, which stays when the last rule is gone.
await lab.exec('pve', ['modprobe', 'nf_conntrack'])
const untouched = await state()

// A node that booted with the nftables firewall, beside Docker: no br_netfilter, and FORWARD drops.
await standIn(lab, '/usr/libexec/proxmox/proxmox-firewall', 'exit 0')
await edit(HOST, ON)
await sh('iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP')
await pvenat.start({}, SLOW_MS)
await settled('nftables')
await loadDaemon(lab)
tell('the nftables firewall without br_netfilter, FORWARD drops', await ask(lab, ALL), {
  'br_netfilter is loaded': (await sh('cat /proc/modules')).includes('br_netfilter'),
  'table bridge pvenat': await hasTable(),
})

// The other firewall.
await sh('iptables-legacy -P FORWARD ACCEPT; ip6tables-legacy -P FORWARD ACCEPT')
await unloadDaemon(lab)
await lab.exec('pve', ['modprobe', 'br_netfilter'])
await setBridgeNf(1)
await loadPveFirewall(lab, 'legacy', node1Tree)
await edit('firewall/107.fw', WITH_SPORT)
await edit(HOST, OFF)
await settled('iptables')
tell('the iptables firewall', await ask(lab, ALL), { 'table bridge pvenat': await hasTable() })

// The switch, under live connections: the table comes before the daemon.
const streams = await Promise.all([
  lab.stream('inet', '203.0.113.2:8080', { from: '198.51.100.7', timeoutMs: ANSWER_MS }),
  lab.stream('inet', '203.0.113.2:1022', { timeoutMs: ANSWER_MS }),
  lab.stream('107', '203.0.113.1:443', { timeoutMs: ANSWER_MS }),
  lab.stream('107', '203.0.113.2:8080', { timeoutMs: ANSWER_MS }),
])
await edit('firewall/107.fw', WITHOUT_SPORT)
await edit(HOST, ON)
await settled('nftables')
await loadDaemon(lab)
await unloadPveFirewall(lab)
const alive = await Promise.all(streams.map((stream) => stream.ping(ANSWER_MS)))
const made = await table()
tell('the nftables firewall, switched on', await ask(lab, ALL), {
  'connections that live on': alive.filter(Boolean).length,
  'table bridge pvenat': await hasTable(),
})

await setBridgeNf(0)
tell('the nftables firewall, bridged packets past iptables', await ask(lab, ALL), {
  'the table is still the same': (await table()) === made,
})

// It is the table that does it.
pvenat.service?.signal('SIGSTOP')
await sh('nft delete table bridge pvenat; conntrack -F')
let fix: string[] = []
await patiently(async () => (fix = await fixOfTable()).length > 0, 'the finding of doctor')
tell(
  'the nftables firewall, somebody deleted table bridge pvenat',
  await ask(lab, [...silent(BEHIND), ...DIRECT, ...FOREIGN]),
  { 'the fix of doctor': fix },
)

const paste = await makeFixer(lab, pvenat, tree)
await paste(fix)
await sh('conntrack -F')
await patiently(async () => (fix = await fixOfTable()).length === 0, 'the finding of doctor to go')
tell('the nftables firewall, the fix of doctor put the table back', await ask(lab, [...BEHIND, ...DIRECT]), {
  'the fix of doctor': fix,
})

await sh('nft delete table bridge pvenat')
pvenat.service?.signal('SIGCONT')
await waitFor(hasTable, { timeoutMs: SLOW_MS, intervalMs: 500, what: 'the table' })
await sh('conntrack -F')
tell('the nftables firewall, the service put the table back', await ask(lab, [...BEHIND, ...DIRECT]))

await unloadDaemon(lab)
const { exitCode } = await pvenat.run('rollback')
await sh('ipset list -n | grep PVEFW | xargs -n 1 ipset destroy')
tell(
  'rollback',
  {},
  {
    'exit code': exitCode,
    'table bridge pvenat': await table(),
    changed: difference(untouched, await state()),
  },
)
await lab.stop()
