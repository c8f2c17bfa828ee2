/** Rules of others that get in the way of ours, and rules of ours that are not where they should be. */
import { FAMILIES, type Range } from '../address.ts'
import { placeName } from '../diagnostic.ts'
import { iptables, otherBackend, saveProgram, type Backend } from '../facts/backend.ts'
import { forwardPolicy, linkOf } from '../facts/facts.ts'
import { quoted } from '../facts/fixes.ts'
import { foreignNat, foreignPlace, mayConcern, type ForeignNat } from '../facts/foreign.ts'
import type { Forward } from '../nat/model.ts'
import { LOOP_IN, LOOP_OUT } from '../ruleset/loop.ts'
import { HOOKS, KERNEL_CHAINS, OWN_CHAIN } from '../ruleset/model.ts'
import { wantedFamilies, type Check, type Finding, type Patient } from './finding.ts'

export const notInForce: Check = ({ differs = [], facts }) => {
  if (differs.length === 0) return undefined
  return {
    id: 'not-in-force',
    severity: 'error',
    finding: `What the rules ask for is not in force: ${differs.length} chains or sets differ.`,
    restsOn: differs.slice(0, 5),
    fix: facts.service.running ? ['systemctl restart pvenat'] : ['pvenat apply'],
    why: 'Forwards and masquerading that you see in pvenat list do not work, or not as listed.',
  }
}

export const loopMissing: Check = ({ facts, ruleset }) => {
  const missing = [LOOP_OUT, LOOP_IN].filter((name) => !linkOf(facts, name)?.up)
  if (ruleset.loop.length === 0 || missing.length === 0) return undefined
  return {
    id: 'loop-missing',
    severity: 'error',
    finding: `The interfaces by which guests reach themselves are missing or down: ${missing.join(', ')}.`,
    restsOn: ['ip addr show'],
    fix: [`ip link delete ${LOOP_OUT} 2>/dev/null; pvenat apply`],
    why: 'A guest that calls itself by the external address gets no answer.',
  }
}

export const forwardPolicyDrop: Check = (patient) => {
  const { facts } = patient
  const own = facts.backend
  const other = otherBackend(own)
  return wantedFamilies(patient).flatMap((family): Finding[] => {
    const rest = (backend: Backend): string[] => [`${saveProgram(backend, family)}: :FORWARD DROP`]
    const isDrop = (backend: Backend): boolean => forwardPolicy(facts, backend, family) === 'DROP'
    const found: Finding[] = []
    if (isDrop(other))
      found.push({
        id: 'forward-policy-other',
        severity: 'error',
        finding: `The policy of FORWARD is DROP in the other backend, ${iptables(other, family)}.`,
        restsOn: rest(other),
        fix: [`${iptables(other, family)} -w -P FORWARD ACCEPT`],
        why: 'The kernel asks both backends, and pvenat has rules in one only, so nothing that is forwarded passes.',
      })
    if (isDrop(own))
      found.push({
        id: 'forward-policy',
        severity: 'info',
        finding: `The policy of FORWARD is DROP in ${iptables(own, family)}, which somebody else set (Docker does).`,
        restsOn: rest(own),
        fix: [],
        why: 'pvenat lets its own forwards and egress pass all the same; other routed packets are dropped.',
      })
    return found
  })
}

/** Rules of ours in the tables that we do not use: left over from a time with another setting. */
export const ownLeftovers: Check = ({ facts }) =>
  FAMILIES.flatMap((family): Finding[] => {
    const backend = otherBackend(facts.backend)
    const text = facts.tables[backend][family]
    const chains = ownChains(text)
    if (chains.length === 0) return []
    const name = iptables(backend, family)
    const hooks = HOOKS.filter(({ from, to }) => text.includes(`\n-A ${from} -j ${to}\n`))
    return [
      {
        id: 'own-leftovers',
        severity: 'error',
        finding: `Chains of pvenat are also in ${name}, which it does not use any more.`,
        restsOn: chains
          .slice(0, 5)
          .map(({ table, chain }) => `${saveProgram(backend, family)}: ${table} ${chain}`),
        fix: [
          ...hooks.map(({ table, from, to }) => `${name} -w -t ${table} -D ${from} -j ${to}`),
          ...chains.map(({ table, chain }) => `${name} -w -t ${table} -F ${chain}`),
          ...chains.map(({ table, chain }) => `${name} -w -t ${table} -X ${chain}`),
        ],
        why: 'Both are in force, and what the old ones say may be long gone.',
      },
    ]
  })

function ownChains(text: string): { table: string; chain: string }[] {
  return text.split(/^\*/m).flatMap((part) => {
    const [table = '', ...lines] = part.split('\n')
    const chains = lines.flatMap((line) => /^:([\w.-]+) /.exec(line)?.[1] ?? [])
    return chains.filter((chain) => OWN_CHAIN.test(chain)).map((chain) => ({ table, chain }))
  })
}

/** Somebody's DNAT at an end that a forward of ours claims. */
export const foreignForward: Check = ({ facts, translation }) => {
  const forwards = FAMILIES.flatMap((family) => {
    const { common, addresses } = translation.dispatch[family]
    return [
      ...common.map((one) => ({ one, at: addresses.filter((a) => a.common).map(({ address }) => address) })),
      ...addresses.flatMap(({ address, special }) => special.map((one) => ({ one, at: [address] }))),
    ]
  })
  return foreignNat(facts)
    .filter(({ kind }) => kind === 'destination')
    .flatMap((rule): Finding[] => {
      const ours = forwards.find(
        ({ one, at }) => one.family === rule.family && at.some((address) => meets(rule, one, address)),
      )
      if (!ours) return []
      const isOther = rule.backend !== facts.backend
      return [
        {
          id: 'foreign-forward',
          severity: isOther ? 'error' : 'warning',
          finding: `A rule that is not pvenat's forwards what ${placeName(ours.one.rule.place)} forwards, too.`,
          restsOn: [foreignPlace(rule)],
          fix: [remove(rule)],
          why: isOther
            ? 'It is in the other backend, and which of the two wins is not for pvenat to say.'
            : 'pvenat comes first, so the other rule does nothing where both claim a port; two places for one thing mislead.',
        },
      ]
    })
}

function meets(rule: ForeignNat, { proto, ports }: Forward, destination: Range): boolean {
  return mayConcern(rule, {
    destination: [destination],
    proto: proto === 'all' ? undefined : proto,
    ports: ports && [ports],
  })
}

/** Somebody's masquerading of an internal network. */
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

function masqueradeFinding({ facts, sdnSnat, translation }: Patient, rule: ForeignNat): Finding {
  const exempt = translation.rules.find(
    ({ state, egresses }) =>
      state === 'active' &&
      egresses.some((one) => {
        const source = one.source.ranges === 'any' ? undefined : one.source.ranges
        return one.exempt && one.family === rule.family && mayConcern(rule, { source })
      }),
  )
  const subnet = sdnSnat.find(({ id }) => rule.line.includes(` -s ${networkOf(id)} `))
  const isOther = rule.backend !== facts.backend
  const place = exempt && placeName(exempt.place)
  return {
    id: subnet ? 'sdn-snat' : 'foreign-masquerade',
    severity: exempt || isOther ? 'error' : 'warning',
    finding: subnet
      ? `SDN masquerades the subnet ${subnet.id} by itself.`
      : "A rule that is not pvenat's translates the source of packets from an internal network.",
    restsOn: [foreignPlace(rule), ...(place === undefined ? [] : [place])],
    fix: subnet
      ? [
          `pvesh set /cluster/sdn/vnets/${subnet.vnet}/subnets/${subnet.id} --snat 0`,
          'pvesh set /cluster/sdn',
        ]
      : [remove(rule)],
    why:
      place !== undefined
        ? `${place} says that packets are not translated, and this rule translates them all the same.`
        : 'Guests go out by it although no OUT rule that is marked NAT lets them.',
  }
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
  return {
    id: 'two-backends',
    severity: 'warning',
    finding: `There are NAT rules in ${otherBackend(facts.backend)} tables, and pvenat and plain iptables use ${facts.backend} ones.`,
    restsOn: strangers.slice(0, 5).map(foreignPlace),
    fix: strangers
      .filter(({ chain }) => KERNEL_CHAINS.includes(chain))
      .flatMap((rule) => [command({ ...rule, backend: facts.backend }, rule.line), remove(rule)]),
    why: 'Both are in force, and rules of one are not to be seen with the tools of the other.',
  }
}

function remove(rule: ForeignNat): string {
  if (rule.isNative) return `nft delete rule ${rule.line}`
  return command(rule, rule.line.replace(/^-A /, '-D '))
}

/** iptables-save quotes with `"`, and a shell would look into that. */
function command({ backend, family }: ForeignNat, line: string): string {
  const words = (line.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? [])
    .map((word) => (word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word))
    .map(quoted)
  return `${iptables(backend, family)} -w -t nat ${words.join(' ')}`
}
