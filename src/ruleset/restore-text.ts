/** Ruleset → the kernel's own words: arguments of iptables, and lines for ipset restore. */
import { formatIp, formatRange, prefixLength, type Family } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { Match } from '../nat/nat-rule.ts'
import type { PortRange } from '../ports.ts'
import type { Chain, Rule, RuleText, Target, WrittenChain } from './ruleset.ts'

/** Begins the comment of every own rule; behind it stands a hash of the chain up to and including the rule. */
export const MARK = 'pvenat:'

/** A rule as people read it: the hash is for machines. */
export function withoutMark(line: string): string {
  return line.replace(/ -m comment --comment "?pvenat:[0-9a-z]+"?/, '')
}

/** A rule without its hash and without words that iptables-save adds, its words in one order: counters rest on it, and marks that are set early. */
export function likeness(line: string): string {
  const bare = line.replace(/ -m comment --comment \S+/, '').replace(/\/(32|128)(?= |$)/g, '')
  return bare.split(' ').sort().join(' ')
}

/** The rules of a chain as text; each hash rests on all rules before it, so equal hashes mean an equal chain. */
export function chainText(chain: Chain, family: Family): RuleText[] {
  let hash = shortHash(chain.name)
  return chain.rules.map((rule) => {
    const { match, action } = wordsOf(rule, family)
    const text = match.join('') + action
    hash = nextHash(hash, text)
    const comment = isBare(chain.name, rule, text) ? [] : [`-m comment --comment ${MARK}${hash} `]
    // Joined at once: strings that are put together piece by piece keep their pieces.
    return { hash, line: ['-A ', chain.name, ' ', ...match, ...comment, action].join('') }
  })
}

export function written(chain: Chain, family: Family): WrittenChain {
  return { ...chain, texts: chainText(chain, family) }
}

/** A rule without chain and comment: the text that its hash is made of. */
export function ruleText(rule: Rule, family: Family): string {
  const { match, action } = wordsOf(rule, family)
  return match.join('') + action
}

function wordsOf(rule: Rule, family: Family): { match: string[]; action: string } {
  return {
    match: conditions(rule, family).map((word) => `${word} `),
    action: target(rule.target, family).join(' '),
  }
}

/** The hash of a rule, of the one before it (of the name of the chain for the first) and its own text. */
export function nextHash(before: string, text: string): string {
  return shortHash(`${before} ${text}`)
}

/**
 * In a tree of chains the simplest rules have no comment. On nftables a comment costs more time than the rest of a jump from chain to chain, and
 * it doubles the memory of a rule. Such rules are known by their text: both iptables-save programs print a protocol and ports, or an IPv4
 * network, as they were sent.
 */
export const BARE =
  /^(-p \w+ -m \w+ --dport \d+(:\d+)?|-[sd] [\d.]+\/\d+) (-g \S+|-j DNAT --to-destination (\d|\[[\da-f]+:)\S+)$/

function isBare(chain: string, { target }: Rule, text: string): boolean {
  return (target.kind === 'goto' || LEAF.test(chain)) && BARE.test(text)
}

/** A chain of a tree that goes by ports. */
const LEAF = /-[TUS]-\d+-\d+$/

function conditions(rule: Rule, family: Family): string[] {
  const { proto, ports, sport, icmpType, state, originalPorts, originalDestination } = rule
  return [
    ...(rule.in === undefined ? [] : ['-i', rule.in]),
    ...(rule.notIn === undefined ? [] : ['!', '-i', rule.notIn]),
    ...(rule.out === undefined ? [] : ['-o', rule.out]),
    ...(rule.notOut === undefined ? [] : ['!', '-o', rule.notOut]),
    ...addresses(rule.source, 'src'),
    ...addresses(rule.destination, 'dst'),
    ...(rule.pair ? ['-m', 'set', '--match-set', rule.pair.name, rule.sides ?? 'src,dst'] : []),
    ...(proto === undefined ? [] : ['-p', proto]),
    ...(proto !== undefined && (ports ?? sport) ? ['-m', proto] : []),
    ...(sport ? ['--sport', portWord(sport)] : []),
    ...(ports ? ['--dport', portWord(ports)] : []),
    ...(icmpType === undefined ? [] : icmp(icmpType, family)),
    ...(rule.syn ? ['--tcp-flags', 'SYN,RST', 'SYN'] : []),
    ...(rule.socket ? ['-m', 'socket', '--nowildcard'] : []),
    ...(rule.routed ? ['-m', 'physdev', '!', '--physdev-is-bridged'] : []),
    ...(rule.bridged ? ['-m', 'physdev', '--physdev-is-bridged', `--physdev-${rule.bridged}`, 'fwln+'] : []),
    ...(state === undefined ? [] : conntrackState(state)),
    ...(rule.direction
      ? [...(state === undefined ? ['-m', 'conntrack'] : []), '--ctdir', rule.direction]
      : []),
    ...(originalDestination ? ['--ctorigdst', formatRange(originalDestination)] : []),
    ...(rule.notMarked ? ['-m', 'mark', '!', '--mark', markWord(rule.notMarked)] : []),
    ...(rule.replyDestination ? ['--ctrepldst', formatRange(rule.replyDestination)] : []),
    ...(originalPorts ? ['--ctorigdstport', portWord(originalPorts)] : []),
  ]
}

function conntrackState(state: NonNullable<Rule['state']>): string[] {
  const not = state.startsWith('!') ? ['!'] : []
  const word = state === 'ESTABLISHED' ? 'RELATED,ESTABLISHED' : state.replace('!', '')
  return ['-m', 'conntrack', ...not, '--ctstate', word]
}

function icmp(type: string, family: Family): string[] {
  return family === 4 ? ['-m', 'icmp', '--icmp-type', type] : ['-m', 'icmp6', '--icmpv6-type', type]
}

function addresses(match: Match | undefined, side: 'src' | 'dst'): string[] {
  if (!match || match.ranges === 'any') return []
  if (match.set) return ['-m', 'set', '--match-set', match.set.name, side]
  const [range] = match.ranges
  if (!range) throw new Error('a match without a set names at least one network')
  if (prefixLength(range) !== undefined) return [side === 'src' ? '-s' : '-d', formatRange(range)]
  return ['-m', 'iprange', side === 'src' ? '--src-range' : '--dst-range', formatRange(range)]
}

function markWord({ mark, mask }: { mark: number; mask: number }): string {
  return `0x${mark.toString(16)}/0x${mask.toString(16)}`
}

function portWord([lo, hi]: PortRange): string {
  return lo === hi ? String(lo) : `${lo}:${hi}`
}

function target(target: Target, family: Family): string[] {
  switch (target.kind) {
    case 'jump':
      return ['-j', target.chain]
    case 'goto':
      return ['-g', target.chain]
    case 'zone':
      return [
        '-j',
        'CT',
        target.direction === 'orig' ? '--zone-orig' : '--zone',
        String(target.zone),
        ...(target.helper === undefined ? [] : ['--helper', target.helper]),
      ]
    case 'mark':
      return ['-j', 'MARK', '--set-xmark', markWord(target)]
    case 'mss':
      return ['-j', 'TCPMSS', '--set-mss', String(target.mss)]
    case 'helper':
      return ['-j', 'CT', '--helper', target.helper]
    case 'exempt':
      return ['-j', 'NETMAP', '--to', family === 4 ? '0.0.0.0/0' : '::/0']
    case 'netmap':
      return ['-j', 'NETMAP', '--to', formatRange(target.to)]
    case 'reject':
      return [
        '-j',
        'REJECT',
        '--reject-with',
        family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable',
      ]
    case 'dnat':
      return ['-j', 'DNAT', '--to-destination', endpointWord(target)]
    case 'snat':
      return ['-j', 'SNAT', '--to-source', endpointWord(target)]
    case 'return':
    case 'accept':
    case 'drop':
    case 'masquerade':
      return ['-j', target.kind.toUpperCase()]
  }
}

/** `10.10.10.108:5000-5009/15000` shifts; `10.10.10.108` keeps the port. */
function endpointWord({ to, port, shiftFrom }: Extract<Target, { kind: 'dnat' | 'snat' }>): string {
  const address = formatIp(to.family, to.lo)
  if (port === undefined) return address
  const host = to.family === 6 ? `[${address}]` : address
  if (!shiftFrom) return `${host}:${port}`
  return `${host}:${port}-${port + shiftFrom[1] - shiftFrom[0]}/${shiftFrom[0]}`
}
