/** What becomes of the NAT rules, in the administrator's terms: rows of before against rows of now. */
import { externalCell, innerCell } from './cells.ts'
import { printable } from './diagnostics.ts'
import { rowOf, type Row } from './list.ts'
import { whereCell } from './table.ts'

export interface RowChange {
  /** `changed`: the same forward by other words or options of its rule. */
  kind: 'added' | 'moved' | 'changed' | 'gone'
  before?: Row
  after?: Row
}

/** `diffRows`, told by texts: of thousands of rules an edit touches a few. */
export function diffTexts(before: readonly string[], after: readonly string[]): RowChange[] {
  const [olds, news] = [new Set(before), new Set(after)]
  const without = (texts: ReadonlySet<string>, others: ReadonlySet<string>): Row[] =>
    [...texts].filter((text) => !others.has(text)).map(rowOf)
  return diffRows(without(olds, news), without(news, olds))
}

/**
 * The changes among the rules that are in force, in the order of the rows, what is gone last. A rule is found again by what it
 * does, then by its id, then by its place, so a forward that leads elsewhere is one that moved.
 */
export function diffRows(before: readonly Row[], after: readonly Row[]): RowChange[] {
  const left = new Set(before.filter(isInForce))
  const active = after.filter(isInForce)
  const pairs = new Map<Row, Row>()
  const keys: ((row: Row) => string)[] = [(row) => `${row.id} ${effect(row)}`, effect, ({ id }) => id, place]
  let unpaired = active
  for (const key of keys) {
    const known = new Map([...left].reverse().map((row) => [key(row), row]))
    unpaired = unpaired.filter((row) => {
      const old = known.get(key(row))
      if (!old || !left.delete(old)) return true
      pairs.set(row, old)
      return false
    })
  }
  const changes = active.flatMap((row): RowChange[] => {
    const old = pairs.get(row)
    if (!old) return [{ kind: 'added', after: row }]
    if (effect(old) !== effect(row)) return [{ kind: 'moved', before: old, after: row }]
    return old.id === row.id ? [] : [{ kind: 'changed', before: old, after: row }]
  })
  return [...changes, ...[...left].map((row): RowChange => ({ kind: 'gone', before: row }))]
}

function isInForce({ state }: Row): boolean {
  return state === 'active' || state === 'partial'
}

/** What a rule does. */
function effect(row: Row): string {
  const { kind, guest, source, family } = row
  return JSON.stringify([kind, guest?.vmid, externalCell(row), innerCell(row), source, family])
}

function place({ kind, guest, file, line }: Row): string {
  return JSON.stringify([kind, guest?.vmid, file, line])
}

/** `:2222/tcp → 105 web 10.10.10.105:22`, in one line that can harm no terminal. */
export function describeRow(row: Row, arrow = '→'): string {
  const { kind, guest, source } = row
  const name = guest ? `${guest.vmid} (${guest.name})` : ''
  const from = source === '' ? '' : ` from ${source}`
  const who = name !== '' ? `${name}${from}` : source === '' ? 'every internal network' : source
  switch (kind) {
    case 'forward':
      return printable([externalCell(row), arrow, ...(guest ? [name] : []), innerCell(row)].join(' ') + from)
    case 'egress':
      return printable(`${who} goes out ${egressWords(row)}`)
    case 'exempt':
      return printable(
        row.external.ports
          ? `${externalCell(row)} is not forwarded${guest ? ` to ${name}` : ''}`
          : `${who} is not translated`,
      )
    case 'block':
      return printable(
        source === '' ? 'what is forwarded is blocked' : `what is forwarded for ${source} is blocked`,
      )
  }
}

function egressWords({ external }: Row): string {
  const by = external.interface === null ? '' : ` by ${external.interface}`
  return external.addresses === 'any' ? `masqueraded${by}` : `as ${external.addresses.join(',')}${by}`
}

const SIGNS = { added: '+', moved: '~', changed: '~', gone: '-' }

/** The changes as lines `+ ...`, `~ ...` and `- ...`, each with the place of its rule. */
export function renderRowChanges(changes: readonly RowChange[]): string {
  return changes
    .flatMap(({ kind, before, after }) => {
      const row = after ?? before
      if (!row) return []
      const why = kind === 'changed' ? ', its rule was edited' : ''
      return [
        `${SIGNS[kind]} ${describeRow(row)}  (${whereCell(row)}${why})\n`,
        ...(kind === 'moved' && before
          ? [`    before: ${describeRow(before)}  (${whereCell(before)})\n`]
          : []),
      ]
    })
    .join('')
}

/** The same for programs, in the shape of a change of the kernel. */
export function rowChangeJson({ kind, before, after }: RowChange): {
  kind: string
  what: string
  family: number | null
  removed: string[]
  added: string[]
} {
  const row = after ?? before
  return {
    kind: `rule-${kind}`,
    what: row ? whereCell(row) : '',
    family: row?.family.length === 1 ? (row.family[0] ?? null) : null,
    removed: before ? [describeRow(before)] : [],
    added: after ? [describeRow(after)] : [],
  }
}
