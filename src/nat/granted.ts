/** Claims that are granted at one address, found by protocol and block of 16 ports. */
import type { Forward } from './model.ts'

export interface Granted {
  /** In the order in which they were granted. */
  all: Forward[]
  add: (piece: Forward) => void
  /** Those that may have a port or the protocol that a forward wants, in the order in which they were granted. */
  rivals: (forward: Forward) => Iterable<Forward>
}

/** Wider pieces are kept apart: they would stand in too many blocks. */
const MAX_BLOCKS = 16

interface OfProto {
  all: number[]
  wide: number[]
  blocks: Map<number, number[]>
}

export function makeGranted(): Granted {
  const all: Forward[] = []
  const full: number[] = []
  const protos = new Map<string, OfProto>()
  return {
    all,
    add(piece) {
      const at = all.push(piece) - 1
      if (piece.full) return void full.push(at)
      const of = protos.get(piece.proto) ?? { all: [], wide: [], blocks: new Map<number, number[]>() }
      protos.set(piece.proto, of)
      of.all.push(at)
      const blocks = blocksOf(piece)
      if (!blocks) return void of.wide.push(at)
      for (const block of blocks) {
        const list = of.blocks.get(block)
        if (list) list.push(at)
        else of.blocks.set(block, [at])
      }
    },
    *rivals(forward) {
      const of = protos.get(forward.proto)
      const blocks = blocksOf(forward)
      const near = blocks ? blocks.map((block) => of?.blocks.get(block)) : [of?.all]
      const lists = [...near, blocks ? of?.wide : undefined, full].filter((list) => list && list.length > 0)
      const [only = [], ...more] = lists as number[][]
      const order = more.length === 0 ? only : inOrder(lists as number[][], near.length > 1)
      for (const at of order) yield all[at] as Forward
    },
  }
}

/** Merges ascending lists; those of several blocks may have pieces in common. */
function inOrder(lists: readonly number[][], mayRepeat: boolean): number[] {
  const all = lists.flat()
  return (mayRepeat ? [...new Set(all)] : all).sort((a, b) => a - b)
}

/** Undefined for a forward of all ports, or of many. */
function blocksOf({ ports }: Forward): number[] | undefined {
  if (!ports) return undefined
  const [first, last] = [ports[0] >> 4, ports[1] >> 4]
  return last - first < MAX_BLOCKS ? Array.from({ length: last - first + 1 }, (_, i) => first + i) : undefined
}
