/** What is done to a node, as data: the same cards for the same seed, in the lab and on the fake kernel. */
import { TAMPERINGS, type TamperingName } from '../lab/neighbour.ts'
import { EDITS } from './edits.ts'
import { makeRandom, type Random } from './random.ts'

/** `index`: of `EDITS`. */
export type Single =
  { kind: 'edit'; index: number } | { kind: 'tampering'; tampering: TamperingName } | { kind: 'cycle' }

export type Card =
  | Single
  /** At the same time. */
  | { kind: 'both'; one: Single; other: Single }
  /** The service, so many milliseconds after an edit, of 300. */
  | { kind: 'kill'; index: number; ms: number }
  | { kind: 'unmount' | 'restore' | 'ifreload' }
  /** /etc/pve, or a file of one guest, does not answer while this is done. */
  | { kind: 'hang'; half: boolean; act: Single }
  | { kind: 'docker'; comes: boolean }
  /** An edit while somebody holds the lock for so long. */
  | { kind: 'lock'; lock: 'pve-firewall' | 'xtables'; index: number; ms: number }

export const KILL_WITHIN_MS = 300
const HELD_UP_TO_MS = 4000

/** So many cards, and a restore at the end. A deck is dealt to its end before the next, so that few cards show many kinds. */
export function deal(seed: number, count: number): Card[] {
  const random = makeRandom(seed)
  const cards: Card[] = []
  let deck: (() => Card)[] = []
  let isDocker = false
  for (let i = 0; i < count; i++) {
    if (deck.length === 0)
      deck = shuffled(
        makeDeck(random, () => isDocker),
        random,
      )
    const card = deck.pop()?.() ?? { kind: 'restore' }
    if (card.kind === 'docker') isDocker = card.comes
    if (card.kind === 'restore') isDocker = false
    cards.push(card)
  }
  return [...cards, { kind: 'restore' }]
}

function makeDeck(random: Random, isDocker: () => boolean): (() => Card)[] {
  const names = Object.keys(TAMPERINGS) as TamperingName[]
  const index = (): number => random.below(EDITS.length)
  const tampering = (): Single => ({ kind: 'tampering', tampering: random.pick(names) })
  const cycle = (): Single => ({ kind: 'cycle' })
  const edit = (): Single => ({ kind: 'edit', index: index() })
  return [
    ...Array<() => Card>(7).fill(tampering),
    cycle,
    edit,
    edit,
    () => ({ kind: 'both', one: edit(), other: tampering() }),
    () => ({ kind: 'both', one: edit(), other: cycle() }),
    () => ({ kind: 'both', one: cycle(), other: tampering() }),
    () => ({ kind: 'kill', index: index(), ms: random.below(KILL_WITHIN_MS) }),
    () => ({ kind: 'unmount' }),
    () => ({ kind: 'restore' }),
    () => ({ kind: 'hang', half: false, act: tampering() }),
    () => ({ kind: 'hang', half: true, act: tampering() }),
    () => ({ kind: 'hang', half: true, act: edit() }),
    () => ({ kind: 'docker', comes: !isDocker() }),
    () => {
      const lock = random.pick(['pve-firewall', 'xtables'] as const)
      return { kind: 'lock', lock, index: index(), ms: random.below(HELD_UP_TO_MS) }
    },
    () => ({ kind: 'ifreload' }),
  ]
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((one) => ({ one, key: random.below(1 << 30) }))
    .sort((a, b) => a.key - b.key)
    .map(({ one }) => one)
}

export function nameOf(card: Card): string {
  switch (card.kind) {
    case 'edit':
      return `edit ${card.index}`
    case 'tampering':
      return card.tampering
    case 'cycle':
      return 'a cycle of pve-firewall'
    case 'both':
      return `${nameOf(card.one)} and ${nameOf(card.other)}`
    case 'kill':
      return `kill -9 ${card.ms} ms after edit ${card.index}`
    case 'unmount':
      return '/etc/pve gone and back'
    case 'hang':
      return `${nameOf(card.act)} while ${card.half ? 'a file of' : 'all of'} /etc/pve hangs`
    case 'restore':
      return 'everything as it was, by a restore'
    case 'docker':
      return card.comes ? 'Docker comes' : 'Docker goes'
    case 'lock':
      return `the lock of ${card.lock} held for ${card.ms} ms over edit ${card.index}`
    case 'ifreload':
      return 'an ifreload'
  }
}

/** What a card takes away from connections until it is repaired. */
export function breaksOf(card: Card): 'nothing' | 'new' | 'standing' {
  if (card.kind === 'both') return breaksOf(card.other)
  if (card.kind === 'hang') return breaksOf(card.act)
  if (card.kind === 'tampering') return TAMPERINGS[card.tampering].breaks
  // With Docker's policy every new connection waits for the repair.
  return card.kind === 'restore' || (card.kind === 'docker' && card.comes) ? 'standing' : 'nothing'
}
