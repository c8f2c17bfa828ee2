/** NAT rules that lines of /etc/network/interfaces add. */
import type { Family } from '../address.ts'
import { tokens } from '../facts/foreign.ts'
import type { BootLine } from '../facts/node-facts.ts'
import { HOOKS, type Written } from './foreign-rule.ts'
import { interpret } from './words.ts'

export interface BootCommand {
  boot: BootLine
  family: Family
  words: string[]
}

/** The iptables commands of a line, with the interface of its stanza in the place of the variable; others as words alone. */
export function bootCommands(boot: BootLine): BootCommand[] {
  const [, command = ''] = /^\S+\s+(.*)$/.exec(boot.text) ?? []
  return command.split(/;|&&|\|\|/).flatMap((part) => {
    const [program = '', ...words] = tokens(part)
    const name = /(?:^|\/)(ip6?tables)(?:-legacy|-nft)?$/.exec(program)?.[1]
    if (name === undefined) return isForwarding(part) ? [{ boot, family: 4 as const, words: [] }] : []
    const named = words.map((word) =>
      /^["']?\$\{?IFACE\}?["']?$/.test(word) ? (boot.iface ?? word) : word.replace(/^(["'])(.*)\1$/, '$2'),
    )
    return [{ boot, family: name === 'ip6tables' ? 6 : 4, words: named }]
  })
}

function isForwarding(command: string): boolean {
  return /\bip_forward\b|\bipv6[./]conf[./]all[./]forwarding\b/.test(command)
}

export function ofBoot({ boot, family, words }: BootCommand): Written {
  const base = { from: `${boot.file}:${boot.line}`, text: boot.text, family, boot }
  if (words.length === 0) return { ...base, hook: 'PREROUTING', target: 'forwarding', not: {}, unread: [] }
  const at = words.findIndex((word) => ['-A', '-I', '--append', '--insert'].includes(word))
  const hook = HOOKS.find((one) => one === words[at + 1])
  const rest = words.filter((_, i) => at < 0 || i < at || i > at + 1)
  const read = interpret(rest, family)
  return {
    ...base,
    ...read,
    hook: hook ?? 'PREROUTING',
    unread: hook ? read.unread : [words[at + 1] ?? 'no chain'],
  }
}
