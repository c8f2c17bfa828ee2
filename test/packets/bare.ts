/** Packets of protocols without ports. The lab has no servers of them; connection tracking tells who was asked. */
import type { Lab } from '../lab/index.ts'
import type { TestNode } from './node.ts'

/** Sends a packet from the internet to an address; `body` is an expression of Perl. */
export async function sendBare(lab: Lab, to: string, proto: number, body = '"\\0" x 16'): Promise<void> {
  const [family, address] = to.includes(':')
    ? ['AF_INET6', `pack_sockaddr_in6(0, inet_pton(AF_INET6, "${to}"))`]
    : ['AF_INET', `sockaddr_in(0, inet_aton("${to}"))`]
  const script = `socket(S, ${family}, SOCK_RAW, ${proto}) or die; send(S, ${body}, 0, ${address}) or die`
  await lab.exec('inet', ['perl', '-MSocket=:all', '-e', script])
}

/** The addresses that answer entries of conntrack with these options. */
export async function answeredBy(node: TestNode, options: string): Promise<string[]> {
  const text = await node.sh(`conntrack -L ${options} 2>/dev/null || true`)
  const answering = text.split('\n').flatMap((line) => [...line.matchAll(/ src=(\S+)/g)].at(-1)?.[1] ?? [])
  return [...new Set(answering)]
}
