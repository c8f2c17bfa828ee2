/**
 * NAT rules of others, read so that nothing of them is overlooked: of iptables, native nft, and lines of /etc/network/interfaces. A word
 * that is not understood is kept, and keeps the rule from being imported.
 */
import { FAMILIES } from '../address.ts'
import { BACKENDS } from '../facts/backend.ts'
import type { NodeFacts } from '../facts/node-facts.ts'
import { isSameRule } from '../facts/interfaces.ts'
import { bootCommands, ofBoot, type BootCommand } from './boot.ts'
import { savedRules } from './iptables.ts'
import type { Written } from './foreign-rule.ts'
import { nativeRules } from './native.ts'

/** Every NAT rule that is not pvenat's, in the order in which packets meet them, then what only the interfaces files have. */
export function readWritten({
  tables,
  nftables,
  bootLines,
}: Pick<NodeFacts, 'tables' | 'nftables' | 'bootLines'>): Written[] {
  const commands = bootLines.flatMap(bootCommands)
  const used = new Set<BootCommand>()
  const loaded = BACKENDS.flatMap((backend) =>
    FAMILIES.flatMap((family) =>
      (['raw', 'nat'] as const).flatMap((table) =>
        savedRules(tables[backend][family], table, backend, family),
      ),
    ),
  ).map((rule): Written => {
    const command = commands.find(
      (one) => one.family === rule.family && isSameRule(one.words.join(' '), rule.text),
    )
    if (!command) return rule
    used.add(command)
    return { ...rule, boot: command.boot }
  })
  const onlyAtBoot = commands.filter((command) => !used.has(command)).map(ofBoot)
  return [...loaded, ...nativeRules(nftables), ...onlyAtBoot]
}
