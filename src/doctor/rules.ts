/** Rules of others that get in the way of ours, and rules of ours that are not where they should be. */
import { FAMILIES, type Family, type Range } from '../address.ts'
import { forwardPolicy, type BackendName } from '../facts.ts'
import { foreignNat, mayConcern, type ForeignNat } from '../foreign.ts'
import type { Forward } from '../nat/model.ts'
import { HOOKS } from '../ruleset/model.ts'
import type { Check, Finding, Patient } from './finding.ts'

const other = (backend: BackendName): BackendName => (backend === 'legacy' ? 'nft' : 'legacy')

function program(backend: BackendName, family: Family): string {
  return `${family === 4 ? 'iptables' : 'ip6tables'}-${backend}`
}

export const notInForce: Check = ({ differs, facts }) =>
  differs === undefined || differs.length === 0
    ? []
    : [
        {
          ...{ id: 'not-in-force', severity: 'error' },
          finding: `What the rules ask for is not in force: ${differs.length} chains or sets differ.`,
          restsOn: differs.slice(0, 5),
          fix: facts.service.running ? ['systemctl restart pvenat'] : ['pvenat apply'],
          why: 'Forwards and masquerading that you see in pvenat list do not work, or not as listed.',
        },
      ]

export const loopMissing: Check = ({ facts, ruleset }) => {
  const missing = ['pvenat0', 'pvenat1'].filter(
    (name) => !facts.links.some((link) => link.name === name && link.up),
  )
  if (ruleset.loop.length === 0 || missing.length === 0) return []
  return [
    {
      ...{ id: 'loop-missing', severity: 'error' },
      finding: `The interfaces by which guests reach themselves are missing or down: ${missing.join(', ')}.`,
      restsOn: ['ip addr show'],
      fix: ['ip link delete pvenat0 2>/dev/null; pvenat apply'],
      why: 'A guest that calls itself by the external address gets no answer.',
    },
  ]
}

export const forwardPolicyDrop: Check = ({ facts, ruleset }) =>
  FAMILIES.filter((family) => ruleset.chains[family].length > 0).flatMap((family): Finding[] => {
    const found: Finding[] = []
    const rest = (backend: BackendName): string[] => [`${program(backend, family)}-save: :FORWARD DROP`]
    if (forwardPolicy(facts, other(facts.backend), family) === 'DROP')
      found.push({
        ...{ id: 'forward-policy-other', severity: 'error' },
        finding: `The policy of FORWARD is DROP in the other backend, ${program(other(facts.backend), family)}.`,
        restsOn: rest(other(facts.backend)),
        fix: [`${program(other(facts.backend), family)} -P FORWARD ACCEPT`],
        why: 'The kernel asks both backends, and pvenat has rules in one only, so nothing that is forwarded passes.',
      })
    if (forwardPolicy(facts, facts.backend, family) === 'DROP')
      found.push({
        ...{ id: 'forward-policy', severity: 'info' },
        finding: `The policy of FORWARD is DROP in ${program(facts.backend, family)}, which somebody else set (Docker does).`,
        restsOn: rest(facts.backend),
        fix: [],
        why: 'pvenat lets its own forwards and egress pass all the same; other routed packets are dropped.',
      })
    return found
  })

/** Rules of ours in the tables that we do not use: left over from a time with another setting. */
export const ownLeftovers: Check = ({ facts }) =>
  FAMILIES.flatMap((family): Finding[] => {
    const backend = other(facts.backend)
    const chains = ownChains(facts.tables[backend][family])
    if (chains.length === 0) return []
    const name = program(backend, family)
    const text = facts.tables[backend][family]
    const hooks = HOOKS.filter(({ from, to }) => text.includes(`\n-A ${from} -j ${to}\n`))
    return [
      {
        ...{ id: 'own-leftovers', severity: 'error' },
        finding: `Chains of pvenat are also in ${name}, which it does not use any more.`,
        restsOn: chains.map(({ table, chain }) => `${name}-save: ${table} ${chain}`).slice(0, 5),
        fix: [
          ...hooks.map(({ table, from, to }) => `${name} -t ${table} -D ${from} -j ${to}`),
          ...chains.map(({ table, chain }) => `${name} -t ${table} -F ${chain}`),
          ...chains.map(({ table, chain }) => `${name} -t ${table} -X ${chain}`),
        ],
        why: 'Both are in force, and what the old ones say may be long gone.',
      },
    ]
  })

function ownChains(text: string): { table: string; chain: string }[] {
  return text.split(/^\*/m).flatMap((part) => {
    const [table = '', ...lines] = part.split('\n')
    return lines.flatMap((line) => {
      const chain = /^:(PVENAT-[\w.-]+) /.exec(line)?.[1]
      return chain === undefined ? [] : [{ table, chain }]
    })
  })
}

/** Somebody's DNAT at an end that a forward of ours claims. */
export const foreignForward: Check = (patient) => {
  const { facts, translation } = patient
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
      const place = ours.one.rule.place
      return [
        {
          ...{ id: 'foreign-forward', severity: isOther ? 'error' : 'warning' },
          finding: `A rule that is not pvenat's forwards what ${short(place.file)}:${place.span.line} forwards, too.`,
          restsOn: [readLine(rule)],
          fix: remove(rule),
          why: isOther
            ? 'It is in the other backend, and which of the two wins is not for pvenat to say.'
            : 'pvenat comes first, so the other rule does nothing where both claim a port; two places for one thing mislead.',
        },
      ]
    })
}

function meets(rule: ForeignNat, { proto, ports }: Forward, destination: Range): boolean {
  return mayConcern(rule, { destination, ...(proto === 'all' ? {} : { proto }), ...(ports ? { ports } : {}) })
}

/** Somebody's masquerading of an internal network. */
export const foreignMasquerade: Check = (patient) => {
  const { facts, view } = patient
  const sources = foreignNat(facts).filter(({ kind }) => kind === 'source')
  return sources.flatMap((rule): Finding[] => {
    const names = view.network.external.map(({ name }) => name)
    const covered = view.network.internal.find(
      ({ network }) =>
        network.family === rule.family && names.some((out) => mayConcern(rule, { source: network, out })),
    )
    if (!covered || !rule.line.startsWith('-A POSTROUTING ')) return []
    return [masqueradeFinding(patient, rule)]
  })
}

function masqueradeFinding({ facts, sdnSnat, translation }: Patient, rule: ForeignNat): Finding {
  const exempt = translation.rules.find(
    ({ state, egresses }) =>
      state === 'active' &&
      egresses.some((one) => {
        const source = one.source.ranges === 'any' ? undefined : one.source.ranges[0]
        return one.exempt && one.family === rule.family && mayConcern(rule, source ? { source } : {})
      }),
  )
  const subnet = sdnSnat.find(({ id }) => rule.line.includes(` -s ${networkOf(id)} `))
  const isOther = rule.backend !== facts.backend
  const place = exempt && `${short(exempt.place.file)}:${exempt.place.span.line}`
  return {
    ...{ id: subnet ? 'sdn-snat' : 'foreign-masquerade', severity: exempt || isOther ? 'error' : 'warning' },
    finding: subnet
      ? `SDN masquerades the subnet ${subnet.id} by itself.`
      : "A rule that is not pvenat's translates the source of packets from an internal network.",
    restsOn: [readLine(rule), ...(place === undefined ? [] : [place])],
    fix: subnet
      ? [
          `pvesh set /cluster/sdn/vnets/${subnet.vnet}/subnets/${subnet.id} --snat 0`,
          'pvesh set /cluster/sdn',
        ]
      : remove(rule),
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
  const told = new Set(
    [...foreignForward(patient), ...foreignMasquerade(patient)].map(({ restsOn }) => restsOn[0]),
  )
  const strangers = foreignNat(facts).filter(
    (rule) => rule.backend !== facts.backend && !told.has(readLine(rule)),
  )
  if (strangers.length === 0) return []
  return [
    {
      ...{ id: 'two-backends', severity: 'warning' },
      finding: `There are NAT rules in ${other(facts.backend)} tables, and pvenat and plain iptables use ${facts.backend} ones.`,
      restsOn: strangers.slice(0, 5).map(readLine),
      fix: strangers.filter(({ chain }) => isKernelChain(chain)).flatMap((rule) => move(rule, facts.backend)),
      why: 'Both are in force, and rules of one are not to be seen with the tools of the other.',
    },
  ]
}

function isKernelChain(chain: string): boolean {
  return ['PREROUTING', 'OUTPUT', 'POSTROUTING', 'INPUT'].includes(chain)
}

/** iptables-save quotes with `"`, and a shell would look into that. */
function shellWords(line: string): string {
  const words = line.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []
  return words
    .map((word) => (word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word))
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(' ')
}

function remove({ backend, family, line }: ForeignNat): string[] {
  return [`${program(backend, family)} -w -t nat ${shellWords(line.replace(/^-A /, '-D '))}`]
}

function move(rule: ForeignNat, to: BackendName): string[] {
  return [`${program(to, rule.family)} -w -t nat ${shellWords(rule.line)}`, ...remove(rule)]
}

function readLine({ backend, family, line }: ForeignNat): string {
  return `${program(backend, family)}-save: nat ${line}`
}

function short(file: string): string {
  return file.replace(/^.*\//, '')
}
