/** A program of the guest: docs/router-vm.md beside WireGuard and IPsec of the node itself. */
import { execa } from 'execa'
import { readFile } from 'node:fs/promises'
import { copyTree, createLab, fwFile, node1Tree, now, Pvenat, saveLikeGui, type Proto } from '../lab/index.ts'
import { ask, patiently, SLOW_MS, tell } from './guest.ts'
import { NODE4, NODE6 } from './stage.ts'
import { IPSEC, ROUTER, WIREGUARD } from './tunnels.ts'
import { addIpsec, addWireGuard, makeKey } from './wireguard.ts'

const INET = '203.0.113.1'
const [FIRST, SECOND] = WIREGUARD.ports

await execa('modprobe', ['br_netfilter'])
const tree = await copyTree(node1Tree)
const page = await readFile('docs/router-vm.md', 'utf8')
const rules = [/^IN .*$/m.exec(page)?.[0] ?? '', 'IN ACCEPT -dest fd10::107 # NAT 2001:db8:113::2 full=1']
await saveLikeGui(tree, 'firewall/cluster.fw', fwFile(...rules))
for (const vmid of ['105', '107', '108']) await saveLikeGui(tree, `firewall/${vmid}.fw`, fwFile())
const lab = await createLab()
const servers: [name: string, proto: Proto, ...ports: number[]][] = [
  ['107', 'tcp', 7000, 9999],
  ['107', 'udp', 9999, FIRST, SECOND],
  ['pve', 'tcp', 7000, 8006],
  ['inet', 'tcp', 443],
]
await Promise.all(servers.map((server) => lab.serve(...server)))

const pvenat = new Pvenat(lab, 'legacy', tree)
const sh = async (script: string): Promise<string> => (await lab.exec('pve', ['sh', '-ec', script])).stdout

/** The addresses to which entries of conntrack with these options lead. */
async function leadsTo(options: string): Promise<string[]> {
  const text = await sh(`conntrack -L --orig-dst ${NODE4} ${options} 2>/dev/null || true`)
  const sources = text.split('\n').flatMap((line) => [...line.matchAll(/ src=(\S+)/g)].at(-1)?.[1] ?? [])
  return [...new Set(sources)]
}

let at = 0
/** The next stage of the table. */
async function stage(facts: Record<string, unknown> = {}): Promise<void> {
  const next = ROUTER[at++]
  if (next) tell(next.stage, await ask(lab, next.rows), facts)
}

/** Waits for an answer through a tunnel, and prints after how long it came. */
async function answers(endpoint: string, server: string, what: string): Promise<void> {
  const start = now()
  const isThere = async () => {
    const answer = await lab.ask('inet', 'tcp', endpoint, { timeoutMs: 1000 })
    return typeof answer === 'object' && answer.server === server
  }
  await patiently(isThere, what)
  console.log(`${what}: ${(now() - start).toFixed(0)} ms`)
}

await pvenat.configure()
await pvenat.start({}, SLOW_MS)

// IPsec of the router; from outside it is at the node's address.
const outside = { own: INET, peer: NODE4, inner: IPSEC.inet, peersInner: IPSEC.home, out: 4097, in: 4098 }
const home = { peer: INET, inner: IPSEC.home, peersInner: IPSEC.inet, out: 4098, in: 4097 }
await addIpsec(lab, 'inet', { ...outside, route: `via ${NODE4}` })
await addIpsec(lab, '107', { ...home, own: '10.10.10.107', route: 'via 10.10.10.1' })

// The peer of the node's WireGuard is there first and calls again and again.
const [key, peer] = [await makeKey(lab), await makeKey(lab)]
await addWireGuard(lab, 'inet', {
  dev: 'wg0',
  address: `${WIREGUARD.inet}/24`,
  port: 51820,
  key: peer,
  peer: key,
  words: `endpoint ${NODE4}:${FIRST} allowed-ips ${WIREGUARD.node}/32 persistent-keepalive 1`,
})
const early = `-p udp --orig-port-src 51820 --orig-port-dst ${FIRST}`
await patiently(async () => (await leadsTo(early)).length > 0, 'the early peer')
const earlyLeadsTo = await leadsTo(early)
await answers(`${IPSEC.home}:7000`, '107', 'IPsec of the router')
await stage({
  'ESP leads to': await leadsTo('-p 50'),
  'a peer of WireGuard that is early leads to': earlyLeadsTo,
})

await addWireGuard(lab, 'pve', {
  dev: 'wg0',
  address: `${WIREGUARD.node}/24`,
  port: FIRST,
  key,
  peer,
  words: `allowed-ips ${WIREGUARD.inet}/32`,
})
await answers(`${WIREGUARD.node}:8006`, 'pve', 'WireGuard of the node, its peer was early')
await stage({ 'the early peer leads to': await leadsTo(early) })

const callAt = (endpoint: string) =>
  lab.exec('inet', ['wg', 'set', 'wg0', 'peer', key.open, 'endpoint', endpoint])
await sh(`wg set wg0 listen-port ${SECOND}`)
await callAt(`${NODE4}:${SECOND}`)
await answers(`${WIREGUARD.node}:8006`, 'pve', 'WireGuard of the node, at another port')
await stage()

await callAt(`${NODE6}:${SECOND}`)
await answers(`${WIREGUARD.node}:8006`, 'pve', 'WireGuard of the node, over IPv6')
await stage()

await callAt(`${NODE4}:${SECOND}`)
await sh('conntrack -F')
await answers(`${WIREGUARD.node}:8006`, 'pve', 'WireGuard of the node, forgotten by conntrack')
await stage()

// The peer goes on sending ESP, as before to the router.
await addIpsec(lab, 'pve', { ...home, own: NODE4, route: `via ${INET}` })
await answers(`${IPSEC.home}:7000`, 'pve', 'IPsec of the node')
await stage({ 'ESP leads to': await leadsTo('-p 50') })

await lab.stop()
