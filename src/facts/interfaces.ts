/** Lines of /etc/network/interfaces that run a command when an interface comes up: what they add to iptables is there again after a boot. */
import { parseCidr, sameRange, type Family, type Range } from '../address.ts'
import type { BootLine } from './node-facts.ts'
import { COMMENT, type ForeignNat } from './foreign.ts'

export function parseBootLines(file: string, text: string): BootLine[] {
  let iface: string | undefined
  return text
    .split('\n')
    .map((line, i) => {
      const words = line.trim()
      iface = /^iface\s+(\S+)/.exec(words)?.[1] ?? iface
      return { file, line: i + 1, text: words, ...(iface === undefined ? {} : { iface }) }
    })
    .filter(({ text: line }) => /^(up|post-up|pre-up)\s/.test(line))
}

/** The boot line that adds a rule as it was read back. */
export function bootLineOf(lines: readonly BootLine[], rule: ForeignNat): BootLine | undefined {
  return lines.find(({ text }) => {
    const command = /\b(ip6?tables)\S*\s+(.*)$/.exec(text)
    const family: Family = command?.[1] === 'ip6tables' ? 6 : 4
    const [words = ''] = (command?.[2] ?? '').split(/;|&&|\|\|/)
    return family === rule.family && isSameRule(words, rule.line)
  })
}

/** Whether an iptables command adds the rule of a line of a save program. */
export function isSameRule(command: string, saved: string): boolean {
  return isSame(wordsOf(command), wordsOf(saved.replace(COMMENT, '')))
}

/** The options of an iptables command that decide what a NAT rule does; the spelling of each by its short or saved name. */
const NAMES: Readonly<Record<string, string>> = {
  '-A': 'chain',
  '-I': 'chain',
  '--append': 'chain',
  '--insert': 'chain',
  '-s': 'source',
  '--source': 'source',
  '-d': 'destination',
  '--destination': 'destination',
  '-o': 'out',
  '--out-interface': 'out',
  '-i': 'in',
  '--in-interface': 'in',
  '-p': 'proto',
  '--dport': 'ports',
  '--dports': 'ports',
  '-j': 'target',
  '--to': 'to',
  '--to-source': 'to',
  '--to-destination': 'to',
  '--zone': 'zone',
}

function wordsOf(command: string): Map<string, string> {
  const words = command.trim().split(/\s+/)
  return new Map(
    words.flatMap((word, i): [string, string][] => {
      const name = NAMES[word]
      return name === undefined ? [] : [[name, `${words[i - 1] === '!' ? '! ' : ''}${words[i + 1] ?? ''}`]]
    }),
  )
}

function isSame(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  if (one.size !== other.size) return false
  return [...one].every(([name, value]) => {
    const wanted = other.get(name)
    if (wanted === undefined) return false
    // ifupdown names the interface in a variable.
    if (name === 'out' || name === 'in') return value === wanted || /^["']?\$\{?IFACE\}?["']?$/.test(value)
    const [range, same]: (Range | undefined)[] = [parseCidr(value), parseCidr(wanted)]
    return value === wanted || (range !== undefined && same !== undefined && sameRange(range, same))
  })
}
