/** WireGuard and IPsec of the kernel, on hosts of the lab. */
import type { Lab } from '../lab/index.ts'

export interface Key {
  secret: string
  open: string
}

/** A key pair, made by wg. */
export async function makeKey(lab: Lab): Promise<Key> {
  const secret = (await lab.exec('inet', ['wg', 'genkey'])).stdout.trim()
  const { stdout } = await lab.exec('inet', ['wg', 'pubkey'], { input: secret })
  return { secret, open: stdout.trim() }
}

export interface WireGuard {
  dev: string
  address: string
  port: number
  key: Key
  /** The key of the other end, and what `wg set` is told of it. */
  peer: Key
  words: string
}

/** Makes one end of a tunnel. */
export async function addWireGuard(
  lab: Lab,
  host: string,
  { dev, address, port, key, peer, words }: WireGuard,
): Promise<void> {
  const lines = [
    `umask 077; cat > /run/${dev}.key`,
    `ip link add ${dev} type wireguard`,
    `wg set ${dev} private-key /run/${dev}.key listen-port ${port} peer ${peer.open} ${words}`,
    `ip addr add ${address} dev ${dev}`,
    `ip link set ${dev} up`,
  ]
  await lab.exec(host, ['sh', '-ec', lines.join('\n')], { input: key.secret })
}

interface Ipsec {
  /** Outer addresses, as each end knows them. */
  own: string
  peer: string
  inner: string
  peersInner: string
  /** Security parameter indexes: of packets that leave, and that come. */
  out: number
  in: number
  /** The route to the other end's inner address, without its source. */
  route: string
}

const KEYS = `auth hmac(sha256) 0x${'61'.repeat(32)} enc cbc(aes) 0x${'62'.repeat(16)}`

/** Makes one end of an IPsec tunnel by hand, in place of an IKE daemon: ESP in tunnel mode between two inner addresses. */
export async function addIpsec(lab: Lab, host: string, one: Ipsec): Promise<void> {
  const esp = (from: string, to: string) => `src ${from} dst ${to} proto esp`
  const [leaves, comes] = [esp(one.own, one.peer), esp(one.peer, one.own)]
  await lab.ip(host, [
    `xfrm state add ${leaves} spi ${one.out} mode tunnel ${KEYS}`,
    `xfrm state add ${comes} spi ${one.in} mode tunnel ${KEYS}`,
    `xfrm policy add src ${one.inner} dst ${one.peersInner} dir out tmpl ${leaves} mode tunnel`,
    `xfrm policy add src ${one.peersInner} dst ${one.inner} dir in tmpl ${comes} mode tunnel`,
    `addr add ${one.inner}/32 dev lo`,
    `route add ${one.peersInner} ${one.route} src ${one.inner}`,
  ])
}
