/** The iptables tables that filter, as the save programs print them, in the form of nft, so that both are judged alike. */
import type { Family } from '../address.ts'
import { saveProgram, type Backend } from './backend.ts'
import { tokens } from './foreign.ts'
import type { NftChain } from './nftables.ts'

/** Chains of pve-firewall and of pvenat, which are judged by what they are made of. */
export const OURS = /^(?:PVEFW|PVENAT|GROUP)-|^(?:tap|veth)\d+i\d+-|^fwbr\d/

/** Targets after which the next rule is asked. */
export const GOES_ON =
  /^(?:LOG|NFLOG|ULOG|MARK|CONNMARK|CLASSIFY|TCPMSS|DSCP|TOS|TTL|HL|SET|TRACE|CT|CHECKSUM|ECN|AUDIT)$/

/** Tables of iptables in which people drop packets, and the priority of their chains (linux/netfilter_ipv4.h). */
const PRIORITIES: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0 }
export const FILTER_TABLES = Object.keys(PRIORITIES)

const BUILT_IN = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']

/**
 * The chains of others in all tables but nat. The policy of FORWARD in the table filter is left to those who ask for it: here that chain
 * ends with `accept`.
 */
export function savedFilters(text: string, family: Family, backend: Backend): NftChain[] {
  return `\n${text}`.split('\n*').flatMap((part) => {
    const [table = '', ...lines] = part.split('\n')
    const priority = PRIORITIES[table]
    return priority === undefined ? [] : savedTable({ table, lines, priority }, family, backend)
  })
}

function savedTable(
  { table, lines, priority }: { table: string; lines: readonly string[]; priority: number },
  family: Family,
  backend: Backend,
): NftChain[] {
  const program = saveProgram(backend, family)
  const about = { family: family === 4 ? 'ip' : 'ip6', table, program, priority } as const
  const chains = new Map<string, NftChain>()
  for (const line of lines) {
    const [, declared, printed] = /^:(\S+) (\S+)/.exec(line) ?? []
    if (declared !== undefined && !OURS.test(declared)) {
      const base = BUILT_IN.includes(declared)
        ? { type: 'filter', hook: declared.toLowerCase() }
        : { type: '', hook: '' }
      const isAsked = table === 'filter' && declared === 'FORWARD'
      const policy = printed === 'DROP' && !isAsked ? 'drop' : 'accept'
      chains.set(declared, { ...about, ...base, policy, name: declared, rules: [] })
    }
    const [, name = '', words = ''] = /^-A (\S+) ?(.*)$/.exec(line) ?? []
    const chain = chains.get(name)
    const target = /(?:^| )-[jg] (\S+)/.exec(words)?.[1] ?? ''
    if (!chain) continue
    const place = `${program}: ${table === 'filter' ? '' : `${table} `}${line}`
    if (!OURS.test(target)) {
      const statements = statementsOf(words, family, new Set(chains.keys()))
      chain.rules.push({ handle: 0, statements, place })
    } else if (target === 'PVEFW-FORWARD') {
      // Its first rules let answers pass, whoever asked.
      const answers = {
        match: { op: '==', left: { ct: { key: 'state' } }, right: { set: ['related', 'established'] } },
      }
      chain.rules.push({ handle: 0, statements: [answers, { accept: null }], place })
    } else if (chain.hook === 'input' || chain.hook === 'output') {
      // pve-firewall may accept there what the rules behind it would drop.
      chain.rules.push({ handle: 0, statements: [UNREAD, { accept: null }], place })
    }
  }
  return [...chains.values()]
}

/** A condition that pvenat does not read: it may hold or not. */
const UNREAD = { unread: null }

/** A target that sets bits of the mark anew, as iptables-save prints it; which bits stands at the end. */
const NEW_MARK = /^(?:MARK --set-xmark \w+\/|CONNMARK --restore-mark --nfmask )(\w+)/

function statementsOf(text: string, family: Family, chains: ReadonlySet<string>): unknown[] {
  const words = tokens(text)
  const statements: unknown[] = []
  const ip = family === 4 ? 'ip' : 'ip6'
  const payload = (protocol: string, field: string) => ({ payload: { protocol, field } })
  let proto = 'th'
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    const isNot = word === '!'
    if (isNot) i++
    const name = words[i] ?? ''
    const value = words[i + 1] ?? ''
    const match = (left: unknown, right: unknown): void =>
      void statements.push({ match: { op: isNot ? '!=' : '==', left, right } })
    if (name === '-s' || name === '-d') match(payload(ip, name === '-s' ? 'saddr' : 'daddr'), cidr(value))
    else if (name === '-i' || name === '-o')
      match({ meta: { key: name === '-i' ? 'iifname' : 'oifname' } }, value.replace(/\+$/, '*'))
    else if (name === '-p') {
      if (!isNot) proto = value
      match({ meta: { key: 'l4proto' } }, value)
    } else if (/^--[sd]ports?$/.test(name)) {
      match(payload(proto, name.startsWith('--s') ? 'sport' : 'dport'), { set: value.split(',').map(ports) })
    } else if (name === '--ctstate' || name === '--state') states(value.split(','), match)
    else if (name === '-j' || name === '-g') {
      // What stands behind it are options of the target.
      const isUntracked = words.includes('--notrack') || value === 'NOTRACK'
      if (isUntracked) return [...statements, { notrack: null }]
      if (value === 'CT' && words.some((one) => one.startsWith('--zone'))) return [...statements, ZONE]
      const mark = NEW_MARK.exec(words.slice(i + 1).join(' '))?.[1]
      if (mark !== undefined) return [...statements, marking(Number(mark))]
      return [...statements, targetOf(value, name === '-g', chains)]
    } else if (name !== '--comment' && name !== '-m') {
      // Of a module only its options say something.
      statements.push(UNREAD)
      continue
    }
    i++
  }
  return statements
}

/** Another zone of connection tracking, as nft has it. */
const ZONE = { mangle: { key: { ct: { key: 'zone' } }, value: null } }

/** A new mark that keeps all bits of the old one but these, as nft has it. */
function marking(mask: number): unknown {
  return { mangle: { key: { meta: { key: 'mark' } }, value: { '&': [{ meta: { key: 'mark' } }, ~mask] } } }
}

/** The states of a connection, and DNAT and SNAT, which nft has apart. */
function states(names: readonly string[], match: (left: unknown, right: unknown) => void): void {
  const status = names.filter((name) => name === 'DNAT' || name === 'SNAT').map((name) => name.toLowerCase())
  const state = names.filter((name) => name !== 'DNAT' && name !== 'SNAT').map((name) => name.toLowerCase())
  if (status.length === 0) match({ ct: { key: 'state' } }, { set: state })
  else match({ ct: { key: 'state or status' } }, { set: [...state, ...status] })
}

function cidr(text: string): unknown {
  const [addr = '', len] = text.split('/')
  return len === undefined ? addr : { prefix: { addr, len: Number(len) } }
}

function ports(text: string): unknown {
  const [lo = 0, hi] = text.split(':').map(Number)
  return hi === undefined ? lo : { range: [lo, hi] }
}

function targetOf(target: string, isGoto: boolean, chains: ReadonlySet<string>): unknown {
  if (target === 'ACCEPT') return { accept: null }
  if (target === 'DROP' || target === 'REJECT') return { drop: null }
  if (target === 'RETURN') return { return: null }
  if (chains.has(target)) return { [isGoto ? 'goto' : 'jump']: { target } }
  return GOES_ON.test(target) ? { continue: null } : { queue: null }
}
