/** Which addresses a source or destination means as it is typed: literals, lists, ranges, aliases and ipsets. */
import { span, type Family, type Span } from './ip.ts'
import type { Scoped } from './scope.ts'
import type { Names, Spec } from './spec.ts'

/** Addresses of one family; `edges` holds one address of every stretch in which all are in or all are out. */
export interface Sources {
  edges: readonly bigint[]
  has(address: bigint): boolean
}

export function anybody(family: Family): Sources {
  return networks([family === 4 ? '0.0.0.0/0' : '::/0'], family)
}

export function networks(texts: readonly string[], family: Family): Sources {
  return ofParts(
    texts.map((text) => ({ ...span(text), nomatch: false })),
    family,
  )
}

interface Part extends Span {
  nomatch: boolean
}

/** What a rule says, or else something. */
export function sourcesOr(
  otherwise: Sources,
  text: string | undefined,
  { own }: Scoped,
  { names }: Spec,
  family: Family,
): Sources {
  if (text === undefined) return otherwise
  return text.startsWith('+')
    ? ofParts(setParts(text.slice(1), own, names), family)
    : ofParts(listParts(text, own, names), family)
}

/** Of the parts around an address the smallest decides. */
function ofParts(all: readonly Part[], family: Family): Sources {
  const size = ({ lo, hi }: Part): bigint => hi - lo
  const parts = all.filter((part) => part.family === family).sort((a, b) => (size(a) < size(b) ? -1 : 1))
  return {
    edges: parts.flatMap(({ lo, hi }) => [lo, hi + 1n]),
    has: (address) => parts.find(({ lo, hi }) => lo <= address && address <= hi)?.nomatch === false,
  }
}

function listParts(text: string, own: Names | undefined, names: Names): Part[] {
  return text
    .split(',')
    .map((item) => ({ ...span(/[.:]/.test(item) ? item : alias(item, own, names)), nomatch: false }))
}

function setParts(text: string, own: Names | undefined, names: Names): Part[] {
  const { name, files } = lookup(text, own, names)
  const file = files.find(({ sets }) => sets[name])
  const inner = file === own ? own : undefined
  return (file?.sets[name] ?? []).flatMap(({ text: entry, nomatch }) =>
    listParts(entry, inner, names).map((part) => ({ ...part, nomatch })),
  )
}

function alias(text: string, own: Names | undefined, names: Names): string {
  const { name, files } = lookup(text, own, names)
  const cidr = files.find(({ aliases }) => aliases[name] !== undefined)?.aliases[name]
  if (cidr === undefined) throw new Error(`generated rules name only what exists, not ${text}`)
  return cidr
}

/** The guest's own names come first, unless the text says where. */
function lookup(text: string, own: Names | undefined, names: Names): { name: string; files: Names[] } {
  const [name = '', where] = text.split('/').reverse()
  return { name, files: [...(own && where !== 'dc' ? [own] : []), ...(where === 'guest' ? [] : [names])] }
}

export function holds(all: Sources, address: string): boolean {
  return all.has(span(address).lo)
}

export function without(all: Sources, hole: Sources): Sources {
  return {
    edges: [...all.edges, ...hole.edges],
    has: (address) => all.has(address) && !hole.has(address),
  }
}

export function meet(a: Sources, b: Sources): boolean {
  return [...a.edges, ...b.edges].some((address) => a.has(address) && b.has(address))
}
