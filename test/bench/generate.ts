/** A node of a hoster: as many forwards as asked for, ten or more a guest, none of which collapses with its neighbours. */
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export const NODE = 'pve1'
export const EXTERNAL = '203.0.113.2'
/** The first external port of a forward; from `FREE_PORT` on there is none. */
export const FIRST_PORT = 20_000
export const FREE_PORT = 50_000
export const FREE_PORTS = 9000
export const MAX_FORWARDS = FREE_PORT - FIRST_PORT
/** The first inner port of each guest. */
export const INNER_PORT = 1000
const FIRST_VMID = 1000
const MAX_GUESTS = 1000

export interface BenchForward {
  vmid: number
  external: number
  address: string
  port: number
}

/** The forwards of a node, neighbouring ports in different guests: no two of them make one range. */
export function forwardsOf(count: number, guests = guestCount(count)): BenchForward[] {
  return Array.from({ length: count }, (_, i) => {
    const vmid = FIRST_VMID + (i % guests)
    return {
      vmid,
      external: FIRST_PORT + i,
      address: addressOf(vmid),
      port: INNER_PORT + Math.floor(i / guests),
    }
  })
}

/** Ten forwards for each guest, and from 10,000 forwards on a thousand guests. */
export function guestCount(forwards: number): number {
  return Math.min(MAX_GUESTS, Math.ceil(forwards / 10))
}

export function addressOf(vmid: number): string {
  return `10.10.${vmid >> 8}.${vmid & 255}`
}

/** The text of one guest's firewall file. */
export function guestFile(forwards: readonly BenchForward[]): string {
  const rules = forwards.map(
    ({ external, port }) => `IN ACCEPT -p tcp -dport ${port} # NAT ${external} bench`,
  )
  return `[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n${rules.join('\n')}\n\n`
}

/** All files below /etc/pve, by path. */
export function treeFiles(forwards: readonly BenchForward[]): Map<string, string> {
  const byGuest = new Map<number, BenchForward[]>()
  for (const forward of forwards) {
    const own = byGuest.get(forward.vmid)
    if (own) own.push(forward)
    else byGuest.set(forward.vmid, [forward])
  }
  const owners = [...byGuest.keys()].map((vmid) => [vmid, { node: NODE, type: 'lxc', version: 1 }])
  return new Map([
    ['.vmlist', JSON.stringify({ version: 1, ids: Object.fromEntries(owners) as object })],
    [
      'firewall/cluster.fw',
      '[OPTIONS]\n\nenable: 1\n\n[RULES]\n\nOUT ACCEPT -source 10.10.0.0/16 # NAT guests go out\n',
    ],
    [`nodes/${NODE}/host.fw`, '[OPTIONS]\n\nenable: 1\n'],
    ...[...byGuest].flatMap(([vmid, own]): [string, string][] => [
      [`firewall/${vmid}.fw`, guestFile(own)],
      [`nodes/${NODE}/lxc/${vmid}.conf`, guestConfig(vmid)],
    ]),
  ])
}

/** Writes a tree into a new folder, which the caller removes. */
export async function writeTree(files: ReadonlyMap<string, string>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'pvenat-bench-'))
  for (const [name, text] of files) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), text)
  }
  await symlink(`nodes/${NODE}`, join(dir, 'local'))
  return dir
}

export function macOf(vmid: number): string {
  return `BC:24:11:00:${vmid.toString(16).padStart(4, '0').toUpperCase().replace(/..$/, ':$&')}`
}

function guestConfig(vmid: number): string {
  return `hostname: guest${vmid}\nnet0: name=eth0,bridge=vmbr1,gw=10.10.0.1,hwaddr=${macOf(vmid)},ip=${addressOf(vmid)}/16,type=veth\n`
}
