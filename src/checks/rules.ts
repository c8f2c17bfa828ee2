/** Rules of ours that are not where they should be, and policies of FORWARD. */
import { FAMILIES, type Family } from '../address.ts'
import { iptables, otherBackend, saveProgram } from '../facts/backend.ts'
import { forwardPolicy, linkOf, type NodeFacts } from '../facts/node-facts.ts'
import { acceptLines, insertions, missingAccepts } from '../facts/fixes.ts'
import { LOOP_IN, LOOP_OUT } from '../ruleset/self-hairpin.ts'
import { HOOKS, OWN_CHAIN } from '../ruleset/ruleset.ts'
import { wantedFamilies, type Check, type Finding } from './finding.ts'

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

export const loopMissing: Check = ({ facts, ruleset }) =>
  ruleset.loop.length === 0 ? undefined : loopDown(facts)

export function loopDown(facts: NodeFacts): Finding | undefined {
  const missing = [LOOP_OUT, LOOP_IN].filter((name) => !linkOf(facts, name)?.up)
  if (missing.length === 0) return undefined
  return {
    id: 'loop-missing',
    severity: 'error',
    finding: `The interfaces by which guests reach themselves are missing or down: ${missing.join(', ')}.`,
    restsOn: ['ip addr show'],
    fix: [`ip link delete ${LOOP_OUT} 2>/dev/null; pvenat apply`],
    why: 'A guest that calls itself by the external address gets no answer.',
  }
}

/** Beside proxmox-firewall the zone rule in table raw comes too late for guests that still hang behind a firewall bridge. */
export const bridgeZoneMissing: Check = ({ facts, ruleset }) => {
  const bridges = facts.links.filter(({ name }) => name.startsWith('fwbr'))
  const isThere = facts.nftables.chains.some(({ family, table }) => family === 'bridge' && table === 'pvenat')
  if (!ruleset.hasBridgeZone || isThere || bridges.length === 0) return undefined
  return {
    id: 'bridge-zone',
    severity: 'error',
    finding: `Guests behind a firewall bridge (${bridges
      .map(({ name }) => name)
      .slice(0, 5)
      .join(', ')}) have no NAT: table bridge pvenat is missing.`,
    restsOn: ['nft list table bridge pvenat', 'host.fw: nftables: 1'],
    fix: ['modprobe nf_conntrack_bridge; pvenat apply'],
    why: 'With the nftables firewall their packets must get a zone before connections on bridges are tracked. A guest that is stopped and started hangs behind no firewall bridge any more, but on Open vSwitch.',
  }
}

export const forwardPolicyDrop: Check = (patient) => {
  const { facts, view } = patient
  return wantedFamilies(patient).flatMap((family) => {
    const other = otherBackend(facts.backend)
    const lines = missingAccepts(acceptLines(view.network, family), facts.tables[other][family])
    const elsewhere = lines.length > 0 ? policyElsewhere(facts, family, lines) : undefined
    return [elsewhere, policyHere(facts, family)].flatMap((one) => one ?? [])
  })
}

/** `lines`: the rules of FORWARD that are to be there. */
export function policyElsewhere(
  facts: NodeFacts,
  family: Family,
  lines: readonly string[],
): Finding | undefined {
  const other = otherBackend(facts.backend)
  if (forwardPolicy(facts, other, family) !== 'DROP') return undefined
  return {
    id: 'forward-policy-other',
    severity: 'error',
    finding: `The policy of FORWARD is DROP in the other backend, ${iptables(other, family)}.`,
    restsOn: [`${saveProgram(other, family)}: :FORWARD DROP`],
    fix: insertions(iptables(other, family), lines),
    why: 'The kernel asks both backends, and pvenat has rules in one only, so nothing that is forwarded passes. The fix lets forwarded connections, answers and internal networks pass; the policy stays.',
  }
}

export function policyHere(facts: NodeFacts, family: Family): Finding | undefined {
  const { backend } = facts
  if (forwardPolicy(facts, backend, family) !== 'DROP') return undefined
  return {
    id: 'forward-policy',
    severity: 'info',
    finding: `The policy of FORWARD is DROP in ${iptables(backend, family)}, which somebody else set (Docker does).`,
    restsOn: [`${saveProgram(backend, family)}: :FORWARD DROP`],
    fix: [],
    why: 'pvenat lets its own forwards and egress pass all the same; other routed packets are dropped.',
  }
}

/** Rules of ours in the tables that we do not use: left over from a time with another setting. */
export const ownLeftovers: Check = ({ facts, differs }) =>
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
          ...(differs?.length === 0 ? [] : ['pvenat apply']),
          ...hooks.map(({ table, from, to }) => `${name} -w -t ${table} -D ${from} -j ${to}`),
          ...chains.map(({ table, chain }) => `${name} -w -t ${table} -F ${chain}`),
          ...chains.map(({ table, chain }) => `${name} -w -t ${table} -X ${chain}`),
        ],
        why: 'Both are in force, and what the old ones say may be long gone.',
      },
    ]
  })

function ownChains(text: string): { table: string; chain: string }[] {
  return `\n${text}`.split('\n*').flatMap((part) => {
    const [table = '', ...lines] = part.split('\n')
    const chains = lines.flatMap((line) => /^:(\S+) /.exec(line)?.[1] ?? [])
    return chains.filter((chain) => OWN_CHAIN.test(chain)).map((chain) => ({ table, chain }))
  })
}
