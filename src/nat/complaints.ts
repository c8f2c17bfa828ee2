/** What pve-firewall says against a rule, in words and with help: its own texts are those of a schema. */
import { canonicalMacro, macroNames } from '../fw/macros.ts'
import type { FwFile, FwRule, RuleField } from '../fw/fw-file.ts'
import { nearest } from '../nearest.ts'

/** The names that a rule may use. `own`: of the guest's file. */
export interface Names {
  cluster: Pick<FwFile, 'aliases' | 'ipset'>
  own?: Pick<FwFile, 'aliases' | 'ipset'> | undefined
  sdnSets?: ReadonlyMap<string, unknown>
}

interface Complaint {
  reason: string
  help?: string | undefined
  /** What can be typed into the field. */
  proposal?: string | undefined
}

/** Fields as the GUI labels them. */
const FIELD_LABELS: Readonly<Partial<Record<string, string>>> = {
  action: 'Action',
  type: 'Direction',
  iface: 'Interface',
  macro: 'Macro',
  proto: 'Protocol',
  source: 'Source',
  dest: 'Destination',
  dport: 'Dest. port',
  sport: 'Source port',
  'icmp-type': 'ICMP type',
}

/** The complaint about a field in words; as it is where no better words are known. */
export function inWords(rule: FwRule, field: RuleField, reason: string, names: Names): Complaint {
  const [, needing] = /^missing property - '([\w-]+)' requires/.exec(reason) ?? []
  if (needing !== undefined) {
    const label = FIELD_LABELS[needing] ?? needing
    const value = needing === 'icmp-type' ? 'icmp' : 'tcp'
    return {
      reason: `${label} needs a protocol`,
      help:
        rule.macro === undefined ? `set Protocol to ${value}` : `clear ${label}: the macro brings its own`,
    }
  }
  const label = FIELD_LABELS[field] ?? field
  if (/does not support ports$/.test(reason))
    return { reason, help: `clear ${label}, or set Protocol to tcp` }
  const [, , set] = /^parameter '([\w-]+)' already define in macro \(value = '(.*)'\)$/.exec(reason) ?? []
  if (set !== undefined)
    return { reason: `macro ${rule.macro ?? ''} sets ${label} to ${set} itself`, help: `clear ${label}` }
  if (reason.startsWith('value does not match the regex pattern'))
    return {
      reason: `'${rule.iface ?? ''}' is no NIC of a guest`,
      help: 'Interface takes net0, net1 and so on, or nothing',
    }
  const [, kind, name] = /^(?:no such|unknown) (alias|ipset|macro) '(.*)'$/.exec(reason) ?? []
  const near = name === undefined ? undefined : nearestName(kind as string, name, names)
  return near === undefined ? { reason } : { reason, help: `did you mean ${near}?`, proposal: near }
}

/** As the field takes it: `dc/lan`, `+guest/office`, `SSH`. */
export function nearestName(
  kind: string,
  name: string,
  { cluster, own, sdnSets }: Names,
): string | undefined {
  if (kind === 'macro') {
    const near = nearest(name, macroNames)
    return near && canonicalMacro(near)
  }
  const field = kind === 'alias' ? 'aliases' : 'ipset'
  const sign = kind === 'alias' ? '' : '+'
  const bare = name.replace(/^(?:dc|guest|sdn)\//, '')
  const found = [
    ...[...(own?.[field].keys() ?? [])].map((one) => ({ one, scope: 'guest' })),
    ...[...cluster[field].keys()].map((one) => ({ one, scope: 'dc' })),
    ...[...((kind === 'ipset' && sdnSets?.keys()) || [])].map((one) => ({ one, scope: 'sdn' })),
  ]
  const near = nearest(
    bare,
    found.map(({ one }) => one),
  )
  const scope = found.find(({ one }) => one === near)?.scope
  return near === undefined ? undefined : `${sign}${scope}/${near}`
}
