/** A program of the guest: docs/wireguard-vps.md with WireGuard itself, brought up by wg-quick. */
import { execa } from 'execa'
import { blocksOf } from '../docs/commands.ts'
import {
  copyTree,
  createLab,
  forgetLeaks,
  fwFile,
  inetPlan,
  leaks,
  node1Plan,
  node1Tree,
  now,
  Pvenat,
  saveLikeGui,
} from '../lab/index.ts'
import { ANSWER_MS, ask, patiently, SLOW_MS, tell } from './guest.ts'
import { CLIENT4, NODE4 } from './stage.ts'
import { ELSEWHERE, THROUGH_VPS } from './tunnels.ts'
import { addWireGuard, makeKey } from './wireguard.ts'

const VPS = '203.0.113.9'
const client = { from: CLIENT4, timeoutMs: ANSWER_MS }
const blocks = blocksOf('docs/wireguard-vps.md')
const block = (language: string, n: number): string =>
  blocks.filter((one) => one.language === language)[n]?.text ?? ''

await execa('modprobe', ['br_netfilter'])
const tree = await copyTree(node1Tree)
const lab = await createLab({ inet: { ...inetPlan, others: [`${CLIENT4}/32`] } })
await lab.addNode({
  ...node1Plan,
  name: 'vps',
  hostname: 'vps',
  uplinks: [{ name: 'eth0', segment: 'eth0', addresses: [`${VPS}/24`] }],
  bridges: [],
  guests: [],
  routes: ['default via 203.0.113.1'],
})
// The provider drops foreign sources.
await lab.exec('inet', [
  ...'iptables-nft -t raw -A PREROUTING -i eth0 ! -s 203.0.113.0/24 -j DROP'.split(' '),
])
await lab.serve('105', 'tcp', 22)
await lab.serve('105', 'udp', 5003)
await lab.serve('inet', 'tcp', 443)
await lab.serve('inet', 'udp', 53)

const pvenat = new Pvenat(lab, 'nft', tree)
const sh = async (script: string): Promise<string> => (await lab.exec('pve', ['sh', '-ec', script])).stdout
/** Has wg-quick bring up a tunnel of this configuration. */
async function wgQuick(host: string, dev: string, text: string): Promise<void> {
  const script = `umask 077; mkdir -p /etc/wireguard; cat > /etc/wireguard/${dev}.conf; wg-quick up ${dev} 2>&1`
  console.log((await lab.exec(host, ['sh', '-ec', script], { input: text })).stdout)
}

let at = 0
/** The next stage of the table. */
async function stage(facts: Record<string, unknown>): Promise<void> {
  const next = THROUGH_VPS[at++]
  if (!next) return
  const asked = await ask(lab, next.rows)
  const wrong = 'packets with a wrong source'
  tell(next.stage, asked, { ...facts, ...(wrong in next.facts ? { [wrong]: await leaks(lab) } : {}) })
}

/** Waits until guest 105 answers there; tells after how many milliseconds. */
async function answersAt(endpoint: string): Promise<number> {
  const start = now()
  const isThere = async () =>
    typeof (await lab.ask('inet', 'tcp', endpoint, { from: CLIENT4, timeoutMs: 1000 })) === 'object'
  await patiently(isThere, `an answer at ${endpoint}`)
  return now() - start
}

const settings = block('ini', 0).replace('[nat]\n', '').trim()
await pvenat.configure(settings)
const more = ['IN SSH(ACCEPT) # NAT 2223', 'IN ACCEPT -p udp -dport 5003 # NAT 15003']
await saveLikeGui(tree, 'firewall/105.fw', fwFile(...block('ini', 1).trim().split('\n'), ...more))
await pvenat.start({}, SLOW_MS)

const [far, near] = [await makeKey(lab), await makeKey(lab)]
const withKeys = (text: string): string =>
  text
    .replace('(key of the VPS)', far.secret)
    .replace('(public key of the VPS)', far.open)
    .replace('(key of the node)', near.secret)
    .replace('(public key of the node)', near.open)
await wgQuick('vps', 'wg0', withKeys(block('', 0)))
await wgQuick('pve', 'wg0', withKeys(block('', 1)))
await answersAt(`${VPS}:2222`)
// Before the service knew wg0, the node itself refused by its default route.
await forgetLeaks(lab)
const mtu = Number(await sh('cat /sys/class/net/wg0/mtu'))
await stage({ 'the MTU that wg-quick chose': mtu })

const deaf = (verb: string) =>
  Promise.all(
    ['105', 'inet'].map((name) =>
      lab.exec(name, ['iptables-nft', verb, 'INPUT', '-p', 'icmp', '-j', 'DROP']),
    ),
  )
/** Whether a connection carries 20,000 bytes there and back. */
async function carries(from: string, endpoint: string, timeoutMs = ANSWER_MS): Promise<boolean> {
  const stream = await lab.stream(from, endpoint, from === 'inet' ? client : { timeoutMs: ANSWER_MS })
  const isWhole = await stream.ping(timeoutMs, 20_000)
  await stream.close()
  return isWhole
}
/** Waits until segments are made to fit, or are not. */
const clamped = (isSo: boolean) =>
  patiently(
    async () => (await sh('iptables-nft-save -t mangle')).includes(`--set-mss ${mtu - 40}`) === isSo,
    'the clamp',
  )
await deaf('-A')
await clamped(true)
const fits = [await carries('inet', `${VPS}:2222`), await carries('105', `${CLIENT4}:443`)]
await pvenat.configure(`${settings}\nclamp-mss = no`)
await clamped(false)
const unclamped = await carries('inet', `${VPS}:2222`, 5000)
await pvenat.configure(settings)
await clamped(true)
await deaf('-D')
await stage({
  'from the client': fits[0],
  'from the guest': fits[1],
  'from the client, without clamp': unclamped,
})

const stream = await lab.stream('inet', `${VPS}:2222`, client)
await sh(`wg-quick strip wg0 > /run/wg0.conf
ip link del wg0
ip link add wg0 type wireguard
wg setconf wg0 /run/wg0.conf
ip addr add 10.66.66.2/32 dev wg0
ip link set wg0 mtu ${mtu} up`)
const tookMs = await answersAt(`${VPS}:2222`)
console.log(`the tunnel that was made anew answers: ${tookMs.toFixed(0)} ms`)
const resumes = await stream.ping(ANSWER_MS)
await stream.close()
await stage({
  'the connection of before resumes': resumes,
})

const foreignRules = async (): Promise<string> =>
  (await sh('ip rule'))
    .split('\n')
    .filter((line) => !line.includes('118'))
    .join('\n')
const [there, here] = [await makeKey(lab), await makeKey(lab)]
await addWireGuard(lab, 'inet', {
  dev: 'wg1',
  address: '10.78.0.1/24',
  port: 51821,
  key: there,
  peer: here,
  words: `allowed-ips ${ELSEWHERE}/32`,
})
await wgQuick(
  'pve',
  'wg1',
  `[Interface]
Address = ${ELSEWHERE}/32
PrivateKey = ${here.secret}
[Peer]
PublicKey = ${there.open}
Endpoint = 203.0.113.1:51821
AllowedIPs = 0.0.0.0/0
PersistentKeepalive = 25
`,
)
const before = await foreignRules()
const backMs = await answersAt(`${NODE4}:2223`)
console.log(`the node answers beside wg-quick: ${backMs.toFixed(0)} ms`)
await answersAt(`${VPS}:2222`)
const after = await foreignRules()
await stage({ 'routing rules of wg-quick that changed': after === before ? '' : after })

await lab.stop()
