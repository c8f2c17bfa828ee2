/**
 * Blocks of external ports (setting guest-block): each guest has one, by its VMID, so that every node of a cluster comes to the same
 * without a list of who has what.
 */
import { meets, type PortRange } from '../ports.ts'
import type { GuestBlocks, Settings } from '../settings.ts'
import type { Right } from './rights.ts'

export interface Block {
  /** Its number, from 0. */
  index: number
  /** Undefined when the settings name a block that is not there. */
  ports: PortRange | undefined
  /** The VMID of the guest that has it: two guests may come to one block. */
  holder: number
}

/** The first VMID that Proxmox VE gives. */
const FIRST_VMID = 100

export function countBlocks({ ports, size }: GuestBlocks): number {
  return Math.floor((ports[1] - ports[0] + 1) / size)
}

function portsOfBlock({ ports: [first], size }: GuestBlocks, index: number): PortRange {
  return [first + size * index, first + size * (index + 1) - 1]
}

/** The blocks of guests, by VMID. Of guests that come to one block the one that holds ports of it keeps it, else the lowest VMID has it. */
export function blocksOf(
  vmids: Iterable<number>,
  { guestBlock, guests }: Pick<Settings, 'guestBlock' | 'guests'>,
  rights: readonly Right[],
): ReadonlyMap<number, Block> {
  if (guestBlock === 'none') return NO_BLOCKS
  const count = countBlocks(guestBlock)
  const indexOf = (vmid: number): number => guests.get(vmid)?.block ?? (vmid - FIRST_VMID) % count
  const holders = new Map<number, number>()
  const sorted = [...vmids].sort((a, b) => a - b)
  for (const vmid of [...sorted.filter(incumbents(rights, guestBlock, indexOf)), ...sorted])
    if (!holders.has(indexOf(vmid))) holders.set(indexOf(vmid), vmid)
  return new Map(
    sorted.map((vmid) => {
      const index = indexOf(vmid)
      const ports = index < count ? portsOfBlock(guestBlock, index) : undefined
      return [vmid, { index, ports, holder: holders.get(index) ?? vmid }]
    }),
  )
}

const NO_BLOCKS: ReadonlyMap<number, Block> = new Map()

/** Guests that hold ports of their block. */
function incumbents(
  rights: readonly Right[],
  blocks: GuestBlocks,
  indexOf: (vmid: number) => number,
): (vmid: number) => boolean {
  const holding = new Set(
    rights.flatMap(({ vmid, ports }) =>
      ports && meets(ports, portsOfBlock(blocks, indexOf(vmid))) ? [vmid] : [],
    ),
  )
  return (vmid) => holding.has(vmid)
}

/** The ports of a guest's block; undefined when it has none, or another guest has it. */
export function ownBlock(vmid: number, blocks: ReadonlyMap<number, Block>): PortRange | undefined {
  const block = blocks.get(vmid)
  return block?.holder === vmid ? block.ports : undefined
}

/** The lowest number of a block that no guest comes to. */
export function freeBlock(blocks: ReadonlyMap<number, Block>, setting: GuestBlocks): number | undefined {
  const taken = new Set([...blocks.values()].map(({ index }) => index))
  for (let index = 0; index < countBlocks(setting); index++) if (!taken.has(index)) return index
  return undefined
}
