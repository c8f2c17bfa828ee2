/** What `pvenat parse --json` shows: PVE's own names, and of each thing only what is set. */
import type { FwFile, FwRule, FwSetEntry } from './fw-file.ts'

type Json = Record<string, unknown>

/** The keys of a rule in the order of the format; ipversion came later and stands at the end. */
// prettier-ignore
const RULE_KEYS = [
  'type', 'action', 'macro', 'iface', 'source', 'dest', 'proto', 'dport', 'sport', 'log', 'icmp-type',
  'enable', 'comment', 'errors', 'ipversion',
] as const satisfies readonly (keyof FwRule)[]

function pick<T extends object>(from: T, keys: readonly (keyof T & string)[]): Json {
  return Object.fromEntries(keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]]))
}

/** A rule as PVE's API names its fields; `enable` is always there, the rest only if set. */
export function toPveJson(rule: FwRule): Json {
  return pick(rule, RULE_KEYS)
}

function entryToJson(entry: FwSetEntry): Json {
  return pick(entry, ['cidr', 'nomatch', 'comment', 'errors'])
}

function mapToJson<T>(map: ReadonlyMap<string, T>, toJson: (value: T) => unknown): Json {
  // Not by assignment: a name may be `__proto__`.
  return Object.fromEntries([...map].map(([name, value]) => [name, toJson(value)]))
}

/** A file as `{options, aliases, ipset, groups, rules}`; aliases, ipsets and groups by their lower-case names. */
export function fileToJson(file: FwFile): Json {
  return {
    options: file.options,
    aliases: mapToJson(file.aliases, (alias) => pick(alias, ['name', 'cidr', 'comment'])),
    ipset: mapToJson(file.ipset, ({ entries }) => entries.map(entryToJson)),
    groups: mapToJson(file.groups, ({ rules }) => rules.map(toPveJson)),
    rules: file.rules.map(toPveJson),
  }
}
