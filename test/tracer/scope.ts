/** The rules that count, in their order, each with the file or guest for which it speaks. */
import type { Line, Names, Rule, Spec } from './spec.ts'
import { GUESTS, type WorldGuest } from './world.ts'

type Scope = 'cluster' | 'host' | WorldGuest

/** A rule in one scope: a group's rule speaks for whoever pulls it in. */
export interface Scoped<R extends Rule = Rule> {
  rule: R
  scope: Scope
  /** The file whose names come before those of cluster.fw. */
  own: Names | undefined
}

/** Guests by VMID, then host.fw, then cluster.fw; the lines of a file in order. */
export function inOrder({ guests, host, cluster, groups }: Spec): Scoped[] {
  const scoped = (lines: readonly Line[], scope: Scope, own: Names | undefined): Scoped[] =>
    lines.flatMap((line): Scoped[] => {
      if (line.off) return []
      if (line.kind !== 'group') return [{ rule: line, scope, own }]
      return (groups[line.name] ?? [])
        .filter(({ off }) => !off)
        .map((rule) => ({ rule, scope, own: undefined }))
    })
  return [
    ...GUESTS.flatMap((guest) => {
      const file = guests[guest.vmid]
      return file ? scoped(file.lines, guest, file.names) : []
    }),
    ...scoped(host, 'host', undefined),
    ...scoped(cluster, 'cluster', undefined),
  ]
}

export function ofKind<K extends Rule['kind']>(
  rules: readonly Scoped[],
  kind: K,
): Scoped<Extract<Rule, { kind: K }>>[] {
  return rules.filter(({ rule }) => rule.kind === kind) as Scoped<Extract<Rule, { kind: K }>>[]
}
