/** Listening sockets, from /proc/net/{tcp,tcp6,udp,udp6}. */
import { sameRange, type Family, type Range } from '../address.ts'

export interface Socket {
  proto: 'tcp' | 'udp'
  port: number
  /** Undefined: every address, of one family if it is named. */
  address?: Range
  family?: Family
  inode: string
  /** Name of the process; '' when unknown. */
  holder: string
  /** No process has it: the kernel itself listens (WireGuard, VXLAN). */
  isKernel?: true
}

interface SocketTables {
  tcp: (string | undefined)[]
  udp: (string | undefined)[]
}

const STATE = { tcp: '0A', udp: '07' }

/** Sockets that wait for anybody, but for those on loopback addresses. */
export function parseListeners(tables: SocketTables): Socket[] {
  return (['tcp', 'udp'] as const).flatMap((proto) =>
    tables[proto]
      .flatMap((text) => (text ?? '').split('\n').slice(1))
      .flatMap((line) => parseLine(line, proto)),
  )
}

/** Whether a service can be called at an address. */
export function serves({ address, family }: Pick<Socket, 'address' | 'family'>, at: Range): boolean {
  return address ? sameRange(address, at) : family === undefined || family === at.family
}

/** Inodes of sockets that take IPv6 alone (IPV6_V6ONLY), from `ss -H -ltune6`; /proc does not tell. */
export function parseV6Only(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const words = line.split(' ')
    const inode = words.find((word) => word.startsWith('ino:'))?.slice('ino:'.length)
    return inode !== undefined && words.includes('v6only:1') ? [inode] : []
  })
}

function parseLine(line: string, proto: 'tcp' | 'udp'): Socket[] {
  const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
  const [hex = '', portHex = ''] = local.split(':')
  if (state !== STATE[proto] || !/^([0-9A-F]{8}|[0-9A-F]{32})$/.test(hex)) return []
  const socket = { proto, port: parseInt(portHex, 16), inode, holder: '' }
  const address = parseHex(hex)
  if (address.lo === 0n) return [address.family === 4 ? { ...socket, family: 4 } : socket]
  const loopback = address.family === 4 ? address.lo >> 24n === 127n : address.lo === 1n
  return loopback ? [] : [{ ...socket, address }]
}

/** The kernel prints 32-bit words in host order: on all machines of PVE the bytes of each word are the wrong way round. */
function parseHex(hex: string): Range {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse())
  const text = bytes.join('')
  // ::ffff:a.b.c.d is an IPv4 address on an IPv6 socket.
  const mapped = text.startsWith('00000000000000000000ffff'.toUpperCase()) ? text.slice(24) : text
  const value = BigInt(`0x${mapped}`)
  return { family: mapped.length === 8 ? 4 : 6, lo: value, hi: value }
}
