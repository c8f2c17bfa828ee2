/** The id of a NAT rule. */
import { shortHash } from '../hash.ts'
import type { Marked } from './marked.ts'

// prettier-ignore
const ID_FIELDS = ['enable', 'type', 'action', 'macro', 'source', 'dest', 'proto', 'dport', 'sport', 'comment'] as const

/** Stable while other lines come and go: made of scope and text, numbered when the same line stands there twice. */
export function uniqueId({ rule, scope, place, iface }: Marked, ids: Map<string, number>): string {
  const owner = scope.kind === 'guest' ? String(scope.guest.vmid) : scope.kind
  const text = JSON.stringify([place.file, iface, ...ID_FIELDS.map((field) => rule[field])])
  const id = `${owner}-${shortHash(text).slice(0, 6)}`
  const count = (ids.get(id) ?? 0) + 1
  ids.set(id, count)
  return count === 1 ? id : `${id}-${count}`
}
