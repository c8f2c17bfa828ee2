/** Marked rules: every rule whose comment begins with NAT, with its scope and whether it is switched on. */
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import type { FwFile, FwRule, RuleField } from '../fw/fw-file.ts'
import { maxRules, tooManyRules } from './limits.ts'
import type { Scope } from './nat-rule.ts'
import { nearMiss } from './nearmiss.ts'
import { aroundOf } from './pairing.ts'
import { CLUSTER_FW, guestFw, hostFw, type View } from './view.ts'
import { isMarked } from './words.ts'

export interface Marked {
  rule: FwRule & { comment: string }
  place: Place
  scope: Scope
  /** The file of the guest whose aliases and sets come first; undefined for cluster, host and group rules. */
  own?: FwFile
  /** NIC of the guest, or external interface of the node, that the rule names. */
  iface?: string
  /** Why a correct rule is not in force; '' when it is in force. */
  off: string
  /** Its owner switched off the rule, or the firewall of its guest. */
  isGivenUp: boolean
}

/** Where a field of the rule stands; the whole line when the rule has no such field. */
export function fieldPlace({ rule, place }: Marked, field: RuleField | 'comment'): Place {
  return { file: place.file, span: rule.spans[field] ?? place.span }
}

/** A file with rules, and its scope. */
export interface Source {
  scope: Scope
  fw: FwFile
  file: string
  off: string
  /** The switch to set when the file is off. */
  help: string
  /** The firewall of this guest itself is off. */
  isOwnOff: boolean
}

/** The marked rules of one file, in the order of its lines. */
export interface Collected {
  marked: Marked[]
  /** Diagnostics about groups, near misses and limits. */
  diagnostics: Diagnostic[]
  /** The first rule that is not in force because the firewall is off. */
  stopped: Diagnostic | undefined
  skipped: Diagnostic[]
}

export function collectMarked(source: Source, view: View): Collected {
  const diagnostics: Diagnostic[] = []
  const marked = collectSome(view, source, (one) => diagnostics.push(one))
  const first =
    source.off === '' ? undefined : marked.find(({ rule, off }) => rule.enable && off === source.off)
  const what = source.off.replace(/ is off$/, '')
  const stopped = first && diagnose('firewall-off', first.place, { what, option: source.help })
  return { marked, diagnostics, stopped, skipped: skippedMarked(source.fw, source.file) }
}

/** Lines that would have been NAT rules, had pve-firewall not skipped them. */
export function skippedMarked({ skipped }: FwFile, file: string): Diagnostic[] {
  return skipped
    .filter(({ comment }) => isMarked(comment))
    .map(({ span, reason }) => diagnose('line-skipped', { file, span }, { reason }))
}

export const DATACENTER_OFF = 'the datacenter firewall is off'

/** The files in the order of evaluation: guests by VMID, then the host's, then the cluster's. */
export function sources(view: View): Source[] {
  const { cluster, host, node, settings } = view
  const clusterOff =
    settings.requireFirewall && !isOn(cluster.options.enable, 0, view.now) ? DATACENTER_OFF : ''
  const clusterHelp = 'switch it on in Datacenter > Firewall > Options (enable: 1 in cluster.fw)'
  const off = (own: boolean, what: string): string =>
    clusterOff !== '' ? clusterOff : settings.requireFirewall && !own ? what : ''
  const help = (own: string): string => (clusterOff !== '' ? clusterHelp : own)
  const hostOff = off(isOn(host.options.enable, 1, view.now), 'the firewall of this node is off')
  const hostHelp = help(`switch it on in ${node} > Firewall > Options (enable: 1 in host.fw)`)
  const guests = view.guests.map(({ guest, fw }): Source => {
    const what = `the firewall of guest ${guest.vmid} is off`
    const isOwnOn = isOn(fw.options.enable, 0, view.now)
    return {
      scope: { kind: 'guest', guest },
      fw,
      file: guestFw(guest.vmid),
      off: off(isOwnOn, what),
      isOwnOff: settings.requireFirewall && !isOwnOn,
      help: help(`switch it on in ${guest.vmid} > Firewall > Options (enable: 1 in ${guest.vmid}.fw)`),
    }
  })
  const ofNode = { off: hostOff, help: hostHelp, isOwnOff: false }
  return [
    ...guests,
    { scope: { kind: 'host' }, fw: host, file: hostFw(node), ...ofNode },
    { scope: { kind: 'cluster' }, fw: cluster, file: CLUSTER_FW, ...ofNode },
  ]
}

/** `enable`: 1, or until when (a minute later) it is on (pve-firewall Firewall.pm, `parse_clusterfw_option`). */
export function isOn(value: string | number | undefined, otherwise: 0 | 1, now: number): boolean {
  const number = Number(value ?? otherwise)
  return number > 1 ? now - number <= 60 : number === 1
}

/** The marked rules up to the limit, counted from the last one up; the first rule beyond it gets a diagnostic. */
function collectSome(view: View, source: Source, report: (diagnostic: Diagnostic) => void): Marked[] {
  const { scope, fw, file } = source
  const found: { marked: Marked[]; said: Diagnostic[] }[] = []
  let room = maxRules(scope)
  for (const rule of [...fw.rules].reverse()) {
    const said: Diagnostic[] = []
    const place = { file, span: rule.span }
    const more = collectRule(view, source, rule, place, (one) => said.push(one))
    // Of a group the last rules have room.
    const beyond = more[more.length - room - 1]
    if (beyond) said.push(tooManyRules(scope, beyond.place))
    found.push({ marked: more.slice(Math.max(0, more.length - room)), said })
    if (beyond) break
    room -= more.length
  }
  found.reverse()
  for (const one of found.flatMap(({ said }) => said)) report(one)
  return found.flatMap(({ marked }) => marked)
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
  if (!hasMark(rule)) {
    reportMiss(rule, place.file, view, report)
    return []
  }
  const why = rule.enable ? off : 'the rule is switched off'
  const isGivenUp = !rule.enable || source.isOwnOff
  const marked: Marked = { rule, place, scope, off: why, isGivenUp }
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
  for (const rule of group.rules) if (!hasMark(rule)) reportMiss(rule, CLUSTER_FW, view, report)
  return group.rules.filter(hasMark).map((rule) => {
    const off = rule.enable ? source.off : 'the rule is switched off'
    const isGivenUp = !rule.enable || source.isOwnOff
    const inGroup = { file: CLUSTER_FW, span: rule.span }
    const marked: Marked = { rule, place: inGroup, scope: source.scope, off, isGivenUp }
    if (pull.iface !== undefined) marked.iface = pull.iface
    return marked
  })
}

/** Near misses are reported also while the firewall is off: people write a rule first and switch the firewall on later. */
function reportMiss(
  rule: FwRule,
  file: string,
  { network, services }: View,
  report: (diagnostic: Diagnostic) => void,
): void {
  if (!rule.enable || rule.type === 'group') return
  const place = { file, span: rule.spans.comment ?? rule.span }
  const problem = nearMiss(rule.comment, place, aroundOf(rule, network, services))
  if (problem) report(problem)
}

function hasMark(rule: FwRule): rule is FwRule & { comment: string } {
  return isMarked(rule.comment)
}
