/** Which rules count: every rule whose comment begins with NAT, with whose power it speaks and whether it is switched on. */
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import type { FwFile, FwGroup, FwRule } from '../fw/model.ts'
import { isMarked } from './comment.ts'
import { maxRules, tooManyRules } from './limits.ts'
import type { Scope } from './model.ts'
import { CLUSTER_FW, guestFw, hostFw, type View } from './view.ts'

export interface Marked {
  rule: FwRule & { comment: string }
  place: Place
  scope: Scope
  /** The file of the guest whose aliases and sets come first; undefined for cluster, host and group rules. */
  own?: FwFile
  /** NIC of the guest, or external interface of the node, that the rule names. */
  iface?: string
  /** Why it is not in force although nothing is wrong with it; '' when it is. */
  off: string
}

interface Source {
  scope: Scope
  fw: FwFile
  file: string
  off: string
  /** What to switch on when it is off. */
  help: string
}

/** Every marked rule in the order of evaluation: guests by VMID, then the host's, then the cluster's; in a file, line by line. */
export function collectMarked(view: View, report: (diagnostic: Diagnostic) => void): Marked[] {
  const said = new Set<string>()
  return sources(view).flatMap((source) => {
    const found = collectSome(view, source, report)
    const stopped =
      source.off === '' ? undefined : found.find(({ rule, off }) => rule.enable && off === source.off)
    if (stopped && !said.has(source.off)) {
      said.add(source.off)
      report(
        diagnose('firewall-off', stopped.place, {
          what: source.off.replace(/ is off$/, ''),
          option: source.help,
        }),
      )
    }
    skippedMarked(source.fw, source.file).forEach(report)
    return found
  })
}

/** Lines that would have been NAT rules, had pve-firewall not skipped them. */
export function skippedMarked({ skipped }: FwFile, file: string): Diagnostic[] {
  return skipped
    .filter(({ comment }) => isMarked(comment))
    .map(({ span, reason }) => diagnose('line-skipped', { file, span }, { reason }))
}

function sources(view: View): Source[] {
  const { cluster, host, node, settings } = view
  const clusterOff =
    settings.requireFirewall && !isOn(cluster.options.enable, 0, view.now)
      ? 'the datacenter firewall is off'
      : ''
  const clusterHelp = 'switch it on in Datacenter > Firewall > Options (enable: 1 in cluster.fw)'
  const off = (own: boolean, what: string): string =>
    clusterOff !== '' ? clusterOff : settings.requireFirewall && !own ? what : ''
  const help = (own: string): string => (clusterOff !== '' ? clusterHelp : own)
  const hostOff = off(isOn(host.options.enable, 1, view.now), 'the firewall of this node is off')
  const hostHelp = help(`switch it on in ${node} > Firewall > Options (enable: 1 in host.fw)`)
  const guests = view.guests.map(({ guest, fw }): Source => {
    const what = `the firewall of guest ${guest.vmid} is off`
    return {
      scope: { kind: 'guest', guest },
      fw,
      file: guestFw(guest.vmid),
      off: off(isOn(fw.options.enable, 0, view.now), what),
      help: help(`switch it on in ${guest.vmid} > Firewall > Options (enable: 1 in ${guest.vmid}.fw)`),
    }
  })
  return [
    ...guests,
    { scope: { kind: 'host' }, fw: host, file: hostFw(node), off: hostOff, help: hostHelp },
    { scope: { kind: 'cluster' }, fw: cluster, file: CLUSTER_FW, off: hostOff, help: hostHelp },
  ]
}

/** `enable`: a number, or the time it was switched on for one minute (pve-firewall Firewall.pm). */
function isOn(value: string | number | undefined, otherwise: 0 | 1, now: number): boolean {
  const number = Number(value ?? otherwise)
  return number > 1 ? Math.abs(now - number) < 60 : number === 1
}

/** As many as the limit allows; the line that goes beyond it is told. */
function collectSome(view: View, source: Source, report: (diagnostic: Diagnostic) => void): Marked[] {
  const { scope, fw, file } = source
  const found: Marked[] = []
  for (const rule of fw.rules) {
    const place = { file, span: rule.span }
    const more = collectRule(view, source, rule, place, report)
    const room = maxRules(scope) - found.length
    found.push(...more.slice(0, room))
    if (more.length <= room) continue
    report(tooManyRules(scope, place))
    break
  }
  return found
}

function collectRule(
  view: View,
  source: Source,
  rule: FwRule,
  place: Place,
  report: (diagnostic: Diagnostic) => void,
): Marked[] {
  const { scope, fw, off } = source
  if (rule.type === 'group' && !rule.errors) return collectGroup(view, source, rule, place, report)
  if (!hasMark(rule)) return []
  const marked: Marked = { rule, place, scope, off: rule.enable ? off : 'the rule is switched off' }
  if (scope.kind === 'guest') marked.own = fw
  if (rule.iface !== undefined) marked.iface = rule.iface
  return [marked]
}

function collectGroup(
  view: View,
  source: Source,
  pull: FwRule,
  place: Place,
  report: (diagnostic: Diagnostic) => void,
): Marked[] {
  if (isMarked(pull.comment)) report(diagnose('group-marked', place, {}))
  if (!pull.enable) return []
  const group = view.cluster.groups.get(pull.action)
  if (!group) {
    if (source.off === '') report(diagnose('group-missing', place, { group: pull.action }))
    return []
  }
  return markedRules(group).map((rule) => {
    const off = rule.enable ? source.off : 'the rule is switched off'
    const marked: Marked = { rule, place: { file: CLUSTER_FW, span: rule.span }, scope: source.scope, off }
    if (pull.iface !== undefined) marked.iface = pull.iface
    return marked
  })
}

const markedOf = new WeakMap<FwGroup, (FwRule & { comment: string })[]>()

/** A group is pulled in by many; its rules are looked through once. */
function markedRules(group: FwGroup): (FwRule & { comment: string })[] {
  const known = markedOf.get(group)
  if (known) return known
  const marked = group.rules.filter(hasMark)
  markedOf.set(group, marked)
  return marked
}

function hasMark(rule: FwRule): rule is FwRule & { comment: string } {
  return isMarked(rule.comment)
}
