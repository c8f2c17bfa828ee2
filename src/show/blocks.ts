/** `list --blocks` and blocks.json: the block of ports of every guest of the cluster, and what of it is in use here. */
import { clip } from '../diagnostic.ts'
import { FAMILIES } from '../address.ts'
import { grantedForwards } from '../nat/conflicts.ts'
import type { Outcome } from '../pipeline.ts'
import { formatPorts, within, mergePorts, type PortRange, takeOut } from '../ports.ts'
import { columnsOf, pad } from './columns.ts'
import { printable } from './diagnostics.ts'

/** One guest; keys in this order. */
interface BlockRow {
  vmid: number
  name: string
  node: string
  /** The number of its block, from 0. */
  index: number
  /** Null when there is no block of that number. */
  ports: PortRange | null
  /** The guest that has the block: two guests may come to one. */
  holder: number
  /** What its rules have of the block; null for a guest of another node. */
  used: PortRange[] | null
  /** Null where `used` is. */
  free: PortRange[] | null
}

/** Every guest of the cluster by VMID; none without the setting guest-block. */
export function blockRows({ view, translation }: Pick<Outcome, 'view' | 'translation'>): BlockRow[] {
  if (view.blocks.size === 0) return []
  const used = portsByGuest(translation)
  const here = new Map(view.guests.map(({ guest }) => [guest.vmid, { ...guest, node: view.node }]))
  const others = new Map(view.elsewhere.map(({ guest, node }) => [guest.vmid, { ...guest, node }]))
  return [...view.blocks].map(([vmid, { index, ports, holder }]): BlockRow => {
    const { name = '', node = '' } = here.get(vmid) ?? others.get(vmid) ?? {}
    const row = { vmid, name: clip(name), node, index, ports: ports ?? null, holder }
    if (!here.has(vmid)) return { ...row, used: null, free: null }
    if (!ports) return { ...row, used: [], free: [] }
    const own = within(used.get(vmid) ?? [], ports)
    const free = [ports]
    for (const one of own) takeOut(free, one)
    return { ...row, used: own, free: holder === vmid ? free : [] }
  })
}

/** External ports of forwards that were granted, of any protocol. */
function portsByGuest({ dispatch }: Outcome['translation']): Map<number, PortRange[]> {
  const found = new Map<number, PortRange[]>()
  for (const { rule, ports } of FAMILIES.flatMap((family) => grantedForwards(dispatch[family]))) {
    if (rule.scope.kind !== 'guest' || !ports) continue
    const { vmid } = rule.scope.guest
    found.set(vmid, mergePorts([...(found.get(vmid) ?? []), ports]))
  }
  return found
}

export function renderBlocksJson(rows: readonly BlockRow[]): string {
  return `${JSON.stringify(rows, null, 1)}\n`
}

const TITLES = ['VMID', 'NAME', 'NODE', 'BLOCK', 'PORTS', 'USED', 'FREE']

/** The same as a table; below it the guests whose block another guest has. */
export function renderBlocks(rows: readonly BlockRow[]): string {
  if (rows.length === 0)
    return 'no guest has a block of ports: set guest-block in pvenat.conf, like 20000-59999/20\n'
  const cells = rows.map(({ vmid, name, node, index, ports, used, free }) =>
    [vmid, name, node, index, ports ? formatPorts([ports]) : '-', portsCell(used), portsCell(free)].map(
      (one) => printable(String(one)),
    ),
  )
  const widths = TITLES.map((title, i) =>
    cells.reduce((most, row) => Math.max(most, columnsOf(row[i] ?? '')), title.length),
  )
  const line = (row: readonly string[]): string =>
    `${row
      .map((cell, i) => pad(cell, widths[i] ?? 0))
      .join('  ')
      .trimEnd()}\n`
  const notes = rows.flatMap(({ vmid, index, ports, holder }) => {
    const why = ports
      ? holder === vmid
        ? ''
        : `guest ${holder} has block ${index}`
      : `there is no block ${index}`
    return why === '' ? [] : [`guest ${vmid} has no block: ${why}\n`]
  })
  return [TITLES, ...cells].map(line).join('') + (notes.length > 0 ? `\n${notes.join('')}` : '')
}

/** `20100-20119; used: 20107; free: 20100-20106,20108-20119`. */
export function blockText({ ports, used, free }: BlockRow): string {
  return `${ports ? formatPorts([ports]) : '-'}; used: ${portsCell(used)}; free: ${portsCell(free)}`
}

/** `?`: another node knows. */
function portsCell(ports: readonly PortRange[] | null): string {
  return ports ? formatPorts(ports) || '-' : '?'
}
