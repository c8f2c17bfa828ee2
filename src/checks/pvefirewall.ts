/** What keeps pve-firewall itself from loading what its files say. Facts: pve-firewall 6.0.4, iptables 1.8, both run. */
import { parseCidr } from '../address.ts'
import { placeName } from '../diagnostic.ts'
import { hasChain } from '../facts/node-facts.ts'
import { quoted, ruleApi } from '../facts/fixes.ts'
import { isRateLimit } from '../fw/options.ts'
import { aliasReference, setReference } from '../fw/names.ts'
import { findAlias } from '../fw/scope.ts'
import type { FwFile, FwRule } from '../fw/fw-file.ts'
import { label } from '../guest/guest.ts'
import { isOn } from '../nat/marked.ts'
import { CLUSTER_FW, guestFw, hostFw, type View } from '../nat/view.ts'
import type { Check, Finding } from './finding.ts'

/** One value for which every cycle of pve-firewall fails, so that no later change of any file counts. */
export const cycleFails: Check = ({ view }) =>
  view.firewall === 'iptables'
    ? [...badRateLimit(view), ...files(view).flatMap((one) => refused(one, view))]
    : []

interface File {
  fw: FwFile
  file: string
}

function files({ cluster, host, node, guests }: View): File[] {
  return [
    { fw: cluster, file: CLUSTER_FW },
    { fw: host, file: hostFw(node) },
    ...guests.map(({ guest, fw }) => ({ fw, file: guestFw(guest.vmid) })),
  ]
}

function finding(what: string, place: string, fix: string[]): Finding {
  return {
    id: 'cycle-fails',
    severity: 'error',
    finding: `Every cycle of pve-firewall fails because of ${what}.`,
    restsOn: [place],
    fix,
    why: 'Its rules stay as they were before: later changes of the firewall files do nothing for it.',
  }
}

function badRateLimit({ cluster }: View): Finding[] {
  const value = String(cluster.options['log_ratelimit'] ?? '1')
  if (isRateLimit(value)) return []
  return [
    finding(`log_ratelimit: ${value}`, 'cluster.fw', [
      'pvesh set /cluster/firewall/options --delete log_ratelimit',
    ]),
  ]
}

function refused({ fw, file }: File, view: View): Finding[] {
  const rules = [...fw.rules, ...[...fw.groups.values()].flatMap((group) => group.rules)]
  const sctp = rules.filter(
    (rule) => isCompiled(rule) && ['sctp', '132'].includes(rule.proto ?? '') && namesService(rule),
  )
  const long = [...fw.aliases.values(), ...[...fw.ipset.values()].flatMap(({ entries }) => entries)].filter(
    (one) =>
      !('errors' in one) && aliasReference(one.cidr) === undefined && parseCidr(one.cidr) === undefined,
  )
  return [
    ...sctp.map((rule) => {
      const api = ruleApi(view, file, rule.span.line)
      const ports = (['dport', 'sport'] as const).flatMap((field) => {
        const value = rule[field]
        return value === undefined ? [] : [`--${field} ${quoted(numbers(value, view))}`]
      })
      const fix = api === undefined ? [] : [`pvesh set ${api} ${ports.join(' ')}`]
      return finding('a service that is named in a rule for sctp', placeName({ file, span: rule.span }), fix)
    }),
    ...long.map(({ cidr, span }) =>
      finding(`the network ${cidr}, whose length no address has`, placeName({ file, span }), []),
    ),
  ]
}

function isCompiled({ enable, errors }: FwRule): boolean {
  return enable === 1 && errors === undefined
}

function namesService({ dport, sport }: FwRule): boolean {
  return [dport, sport].some((list) => list?.split(',').some((item) => !/^\d/.test(item)))
}

function numbers(list: string, { services }: View): string {
  return list
    .split(',')
    .map((item) => services.get(item) ?? item)
    .join(',')
}

/** A rule that names what no datacenter has ends the work on every guest that pulls its group in. */
export const groupDies: Check = ({ view }) => {
  if (view.firewall !== 'iptables') return undefined
  const filtered = view.guests.filter(
    ({ guest, fw }) => isOn(fw.options['enable'], 0, view.now) && guest.nics.some(({ firewall }) => firewall),
  )
  return [...view.cluster.groups].flatMap(([name, group]): Finding[] => {
    const guests = filtered.filter(({ fw }) =>
      fw.rules.some((rule) => rule.type === 'group' && rule.action === name && isCompiled(rule)),
    )
    const rule = group.rules.find((one) => isCompiled(one) && lost(one, view) !== undefined)
    const [field, value] = (rule && lost(rule, view)) ?? []
    if (guests.length === 0 || !rule || field === undefined || value === undefined) return []
    const place = { file: CLUSTER_FW, span: rule.span }
    const api = ruleApi(view, CLUSTER_FW, rule.span.line)
    return [
      {
        id: 'group-dies',
        severity: 'error',
        finding: `pve-firewall has no rules at all for ${guests.map(({ guest }) => `guest ${label(guest)}`).join(', ')}: group ${name} names ${value}, which the datacenter does not have.`,
        restsOn: [placeName(place), ...guests.map(({ guest }) => `${guest.vmid}.fw: GROUP ${name}`)],
        fix:
          api === undefined ? [] : [`pvesh set ${api} --${field} ${quoted(value.replace('guest/', 'dc/'))}`],
        why: 'These guests are reached as if they had no firewall, whatever else their files say.',
      },
    ]
  })
}

/** A source or destination that passes when the file is read, and is not found when rules are made of it. */
function lost(rule: FwRule, { cluster, sdnSets }: View): ['source' | 'dest', string] | undefined {
  const field = (['source', 'dest'] as const).find((one) => {
    const value = rule[one] ?? ''
    const set = setReference(value)
    if (set) return set.scope === 'guest' || (!cluster.ipset.has(set.name) && !sdnSets.has(set.name))
    const alias = aliasReference(value)
    return alias !== undefined && findAlias(alias, { cluster }) === undefined
  })
  return field && [field, rule[field] ?? '']
}

/** Our accept for a rule with a source port does not reach what pve-firewall drops with the other backend. */
export const sportElsewhere: Check = ({ facts, translation, view }) => {
  if (view.firewall !== 'iptables') return undefined
  const other = facts.backend === 'legacy' ? 'nft' : 'legacy'
  const isThere = ([4, 6] as const).some((family) =>
    hasChain({ tables: { ...facts.tables, [facts.backend]: { 4: '', 6: '' } } }, family, 'PVEFW-FORWARD'),
  )
  const rules = translation.rules.filter(
    ({ state, forwards }) => state === 'active' && forwards.some(({ accept }) => accept),
  )
  if (!isThere || rules.length === 0) return undefined
  return {
    id: 'sport-backend',
    severity: 'error',
    finding: `Forwards of rules with a source port do not reach guests with firewall=1: the rules of pve-firewall are in ${other} tables, those of pvenat in ${facts.backend} ones.`,
    restsOn: [`chain PVEFW-FORWARD in ${other}`, ...rules.map(({ place }) => placeName(place)).slice(0, 5)],
    fix:
      view.settings.backend === 'auto'
        ? []
        : [
            "for file in /etc/pvenat/pvenat.conf /etc/pve/pvenat.conf; do [ ! -e $file ] || sed -i '/^[[:space:]]*backend[[:space:]]*=/d' $file; done",
          ],
    why: 'What one backend accepts the other drops all the same.',
  }
}
