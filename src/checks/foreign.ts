/** NAT rules of others that meet ours. A fix deletes such a rule only when pvenat does all that it does, and never what a program puts back. */
import { contains, FAMILIES, formatRange, type Range } from '../address.ts'
import { placeName } from '../diagnostic.ts'
import { iptables, otherBackend } from '../facts/backend.ts'
import { quoted } from '../facts/fixes.ts'
import { foreignNat, foreignPlace, isInterface, mayConcern, tokens, unquoted } from '../facts/foreign.ts'
import type { ForeignNat } from '../facts/foreign.ts'
import type { BootLine } from '../facts/node-facts.ts'
import { bootLineOf } from '../facts/interfaces.ts'
import { keeperOf } from '../facts/keepers.ts'
import { placedForwards, type PlacedForward } from '../nat/conflicts.ts'
import type { Forward } from '../nat/nat-rule.ts'
import { holds } from '../nat/sources.ts'
import { KERNEL_CHAINS } from '../ruleset/ruleset.ts'
import type { Check, Finding, Patient } from './finding.ts'

/** A DNAT of others at an address and port that a forward of ours claims. */
export const foreignForward: Check = (patient) => {
  const { facts } = patient
  const forwards = [...grantedForwards(patient), ...lostForwards(patient)]
  return foreignNat(facts)
    .filter(({ kind }) => kind === 'destination')
    .flatMap((rule): Finding[] => {
      const ours = forwards.find(
        ({ forward, at }) =>
          forward.family === rule.family && at.some((address) => meets(rule, forward, address)),
      )
      if (!ours) return []
      const isOther = rule.backend !== facts.backend
      const { place, scope, state, reason } = ours.forward.rule
      const isLost = state === 'error'
      const stays =
        keptBy(rule) ?? (isReplaced(rule, forwards) ? undefined : 'It forwards more than pvenat does.')
      const fix = [
        ...installed(patient),
        ...removal(patient, rule),
        ...(scope.kind === 'guest' ? [HAND_OVER] : []),
      ]
      const both = isOther
        ? 'It is in the other backend, and which of the two wins is not for pvenat to say.'
        : 'pvenat comes first, so the other rule does nothing where both claim a port.'
      return [
        {
          id: 'foreign-forward',
          severity: isOther || isLost ? 'error' : 'warning',
          finding: `A rule that is not pvenat's forwards what ${placeName(place)} ${isLost ? 'asks for' : 'forwards, too'}.`,
          ...evidence(patient, rule),
          fix: stays === undefined ? [fix.join(' && ')] : [],
          why: [
            isLost ? `That rule is not in force: ${reason}.` : both,
            ...(stays === undefined ? [] : [stays, 'Give one of the two another port.']),
          ].join(' '),
        },
      ]
    })
}

/** A port of a guest stays the node's for ten minutes without it. An error at another rule makes apply fail, but not this rule. */
const HAND_OVER = '{ pvenat apply --hand-over; pvenat plan; }'

/** Forwards of guests' rules that are in error; a port that others publish is one reason. */
function lostForwards({ translation }: Patient): PlacedForward[] {
  return translation.rules.flatMap(({ state, forwards }) =>
    state === 'error' ? forwards.map((forward) => ({ forward, at: forward.external })) : [],
  )
}

function grantedForwards({ translation: { dispatch } }: Patient): PlacedForward[] {
  return FAMILIES.flatMap((family) => placedForwards(dispatch[family]))
}

function meets(rule: ForeignNat, { proto, ports }: Forward, destination: Range): boolean {
  return mayConcern(rule, {
    destination: [destination],
    proto: proto === 'all' ? undefined : proto,
    ports: ports && [ports],
  })
}

/** Whether every port of a rule is forwarded by ours to every client. */
function isReplaced(
  { family, proto, ports, destination }: ForeignNat,
  forwards: readonly PlacedForward[],
): boolean {
  if (proto === undefined || ports === undefined || destination?.length !== 1) return false
  return ports.every(([lo, hi]) =>
    forwards.some(
      ({ forward: one, at }) =>
        one.family === family &&
        one.proto === proto &&
        one.source.ranges === 'any' &&
        at.some((address) => destination.every((range) => contains(address, range))) &&
        one.ports !== undefined &&
        one.ports[0] <= lo &&
        hi <= one.ports[1],
    ),
  )
}

/** A masquerade or SNAT of others for an internal network. */
export const foreignMasquerade: Check = (patient) => {
  const { external, internal } = patient.view.network
  const isOurs = (rule: ForeignNat): boolean =>
    internal.some(
      ({ network: source }) =>
        source.family === rule.family &&
        external.some(({ name }) => mayConcern(rule, { source: [source], out: name })),
    )
  return foreignNat(patient.facts)
    .filter(
      (rule) => rule.kind === 'source' && (rule.isNative ?? rule.chain === 'POSTROUTING') && isOurs(rule),
    )
    .map((rule) => masqueradeFinding(patient, rule))
}

function masqueradeFinding(patient: Patient, rule: ForeignNat): Finding {
  const { facts, sdnSnat, translation } = patient
  const isOther = rule.backend !== facts.backend || rule.isNative === true
  // In our own tables an exemption is final.
  const exempt = translation.rules.find(
    ({ state, egresses }) =>
      isOther &&
      state === 'active' &&
      egresses.some((one) => {
        const source = one.source.ranges === 'any' ? undefined : one.source.ranges
        return one.exempt && one.family === rule.family && mayConcern(rule, { source })
      }),
  )
  const subnet = sdnSnat.find(({ id }) => rule.line.includes(` -s ${networkOf(id)} `))
  const place = exempt && placeName(exempt.place)
  const { restsOn } = evidence(patient, rule)
  const removing = subnet
    ? [`pvesh set /cluster/sdn/vnets/${subnet.vnet}/subnets/${subnet.id} --snat 0`, 'pvesh set /cluster/sdn']
    : removal(patient, rule)
  const replacing = subnet || keptBy(rule) === undefined ? replacement(patient, rule) : undefined
  const stays = subnet ? undefined : keptBy(rule)
  return {
    id: subnet ? 'sdn-snat' : 'foreign-masquerade',
    severity: exempt || isOther ? 'error' : 'warning',
    finding: subnet
      ? `SDN masquerades the subnet ${subnet.id} by itself.`
      : "A rule that is not pvenat's translates the source of packets from an internal network.",
    restsOn: [...restsOn, ...(place === undefined ? [] : [place])],
    fix: replacing === undefined ? [] : [[...replacing, ...removing].join(' && ')],
    why: [
      place !== undefined
        ? `${place} says that packets are not translated, and this rule translates them all the same.`
        : 'It translates packets whether an OUT rule that is marked NAT says so or not.',
      ...(stays === undefined ? [] : [stays]),
      ...(replacing === undefined && stays === undefined
        ? [
            'No single OUT rule does all that it does: write OUT rules marked NAT for its networks first, then delete it.',
          ]
        : []),
    ].join(' '),
  }
}

/** A masquerade of a whole network, which one OUT rule of the datacenter replaces. */
const SIMPLE =
  /^-A POSTROUTING -s (\S+) -o (\S+)(?: -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+))? -j (?:MASQUERADE|SNAT --to-source (\S+))$/

/** What makes sure that an OUT rule of ours does what a rule does; undefined when none can. */
function replacement(patient: Patient, rule: ForeignNat): string[] | undefined {
  const { translation, view } = patient
  const [, , out = '', to] = SIMPLE.exec(rule.line) ?? []
  const [source, ...others] = rule.source ?? []
  if (!source || others.length > 0 || out === '') return undefined
  const uplink = view.network.external.find(({ name }) => isInterface(out, name))
  if (!uplink) return undefined
  const isDone = translation.rules.some(
    ({ state, egresses }) =>
      state === 'active' &&
      egresses.some(
        (one) =>
          !one.exempt &&
          one.family === rule.family &&
          one.destination.ranges === 'any' &&
          one.proto === undefined &&
          one.out.includes(uplink.name) &&
          holds(one.source, source),
      ),
  )
  if (isDone) return installed(patient)
  const isOff = translation.rules.some(({ state, isMeant }) => isMeant && state === 'inactive')
  if (isOff || (to !== undefined && !uplink.addresses.some((address) => formatRange(address) === to)))
    return undefined
  const comment = to === undefined || uplink.addresses.length === 1 ? 'NAT' : `NAT ${to}`
  return [
    `pvesh create /cluster/firewall/rules --type out --action ACCEPT --source ${formatRange(source)} --enable 1 --comment ${quoted(comment)}`,
    // An error at another rule makes apply fail, but not this rule.
    '{ pvenat apply; pvenat plan; }',
  ]
}

/** Nothing is deleted before ours is in force. */
function installed({ differs }: Patient): string[] {
  return differs?.length === 0 ? [] : ['{ pvenat apply; pvenat plan; }']
}

function networkOf(id: string): string {
  return id.replace(/^[^-]+-/, '').replace(/-(\d+)$/, '/$1')
}

/** NAT in both backends, even where it does not meet ours. */
export const twoBackends: Check = (patient) => {
  const { facts } = patient
  const found = [foreignForward, foreignMasquerade].flatMap((check) => check(patient) ?? [])
  const told = new Set(found.map(({ restsOn }) => restsOn[0]))
  const strangers = foreignNat(facts).filter(
    (rule) => rule.backend !== facts.backend && !rule.isNative && !told.has(foreignPlace(rule)),
  )
  if (strangers.length === 0) return undefined
  const kept = strangers.flatMap((rule) => keptBy(rule) ?? [])
  return {
    id: 'two-backends',
    severity: 'warning',
    finding: `There are NAT rules in ${otherBackend(facts.backend)} tables, and pvenat and plain iptables use ${facts.backend} ones.`,
    restsOn: strangers.slice(0, 5).flatMap((rule) => evidence(patient, rule).restsOn),
    fix: strangers
      .filter((rule) => KERNEL_CHAINS.includes(rule.chain) && keptBy(rule) === undefined)
      .map((rule) =>
        [command({ ...rule, backend: facts.backend }, rule.line), ...removal(patient, rule)].join(' && '),
      ),
    why: [
      'Both are in force, and rules of one are not to be seen with the tools of the other.',
      ...new Set(kept),
    ].join(' '),
  }
}

/** Why it is of no use to delete a rule. */
function keptBy({ line }: ForeignNat): string | undefined {
  const program = keeperOf(line)
  return program && `${program} made it and puts it back: change it there.`
}

/** Where a rule was read, and the line that adds it at boot. */
function evidence({ facts }: Patient, rule: ForeignNat): { restsOn: string[] } {
  const boot = bootLineOf(facts.bootLines, rule)
  return { restsOn: [foreignPlace(rule), ...(boot ? [`${boot.file}:${boot.line}: ${boot.text}`] : [])] }
}

/** Deletes a rule, and switches off the line that would add it at the next boot. */
function removal({ facts }: Patient, rule: ForeignNat): string[] {
  if (rule.isNative) return [`nft delete rule ${rule.line}`]
  const boot = bootLineOf(facts.bootLines, rule)
  return [command(rule, rule.line.replace(/^-A /, '-D ')), ...(boot ? [switchOff(boot)] : [])]
}

/** Only if the line is still one of these. */
function switchOff({ file, line }: BootLine): string {
  return `sed -i '${line}{/^[^#]*tables/s/^/# /}' ${quoted(file)}`
}

/** iptables-save quotes with `"`, and a shell would look into that. */
function command({ backend, family }: ForeignNat, line: string): string {
  const words = tokens(line).map(unquoted).map(quoted)
  return `${iptables(backend, family)} -w -t nat ${words.join(' ')}`
}
