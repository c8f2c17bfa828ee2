/** One marked rule on its way to a NAT rule. */
import type { NatComment } from './comment.ts'
import type { Marked } from './marked.ts'
import type { NameScope } from './match.ts'
import type { NatRule } from './nat-rule.ts'
import type { Named } from './named.ts'
import type { PortRange } from '../ports.ts'
import type { View } from './view.ts'

export interface Order {
  /** What it becomes: elementary rules are added to it. */
  nat: NatRule
  marked: Marked
  comment: NatComment
  names: NameScope
  view: View
  named: Named
  /** The ports that NAT auto comes to. */
  given?: ReadonlyMap<string, PortRange> | undefined
}
