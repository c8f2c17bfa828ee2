/** What a NAT rule of others becomes: a firewall rule with a comment, something that pvenat does by itself, or nothing, with the reason. */
import { keeperOf } from '../facts/keepers.ts'
import type { View } from '../nat/view.ts'
import { asNodeRule, isInternal, ruleLine, stays, type Becomes } from './guirule.ts'
import { takesAllOf, takesSomeOf } from './earlier.ts'
import { forward } from './incoming.ts'
import type { Written } from './foreign-rule.ts'
import { mappedNetwork } from './networks.ts'
import { outgoing } from './outgoing.ts'

interface Become {
  written: Written
  becomes: Becomes
}

/** Each rule with what becomes of it. A rule that comes again (in the other backend, or at boot) becomes nothing new. */
export function becomeAll(all: readonly Written[], view: View): Become[] {
  const lines = new Set<string>()
  const done: Become[] = []
  for (const written of all) {
    const becomes = becomesOf(written, all, view)
    const line = 'rule' in becomes ? `${becomes.rule.file} ${ruleLine(becomes.rule)}` : undefined
    if (line === undefined) done.push({ written, becomes })
    else if (lines.has(line)) done.push({ written, becomes: { builtIn: 'it does the same as a rule above' } })
    else {
      const behind = standsBehind({ written, becomes }, done, view)
      if ('rule' in behind) lines.add(line)
      done.push({ written, becomes: behind })
    }
  }
  return done
}

/** What becomes of it where earlier rules take packets that the rule of the GUI would get. */
function standsBehind({ written, becomes }: Become, done: readonly Become[], view: View): Becomes {
  const earlier = done.filter((one) => !('deadBehind' in one.becomes))
  const whole = takesAllOf(written, earlier.map(writtenOf), view)
  if (whole) return { stays: `it is dead: no packet gets past '${whole.text}' to it`, deadBehind: whole }
  const isOut = written.hook === 'POSTROUTING'
  const isBefore = ({ becomes: its }: Become): boolean =>
    isOut ? isExempt(becomes) && 'rule' in its && !isExempt(its) : 'stays' in its
  const part = takesSomeOf(written, earlier.filter(isBefore).map(writtenOf))
  if (part) return stays(`some of its packets are taken by a rule before it: '${part.text}'`)
  // The rules of guests come before those of the node.
  const isOfNode = (one: Become): boolean => 'rule' in one.becomes && one.becomes.rule.vmid === undefined
  if (!isOut || !('rule' in becomes) || becomes.rule.vmid === undefined || !written.source) return becomes
  return takesSomeOf(written, earlier.filter(isOfNode).map(writtenOf))
    ? { rule: asNodeRule(becomes.rule, written.source, view) }
    : becomes
}

const writtenOf = ({ written }: Become): Written => written

/** Exemptions come before all translations. */
function isExempt(becomes: Becomes): boolean {
  return 'rule' in becomes && becomes.rule.comment.startsWith('NAT none')
}

function becomesOf(written: Written, all: readonly Written[], view: View): Becomes {
  const keeper = keeperOf(written.text)
  if (keeper !== undefined) return stays(`${keeper} made it and puts it back: change it there`)
  if (written.target === 'forwarding') return { builtIn: 'pvenat switches forwarding on while it is needed' }
  const { unread, hook, target } = written
  if (unread.length > 0) return stays(`pvenat has nothing for ${unread.map((one) => `'${one}'`).join(', ')}`)
  if (target === 'CT') return zoneLine(written)
  if (target === 'REDIRECT')
    return stays('it leads to a service of the node itself, which is no NAT for a guest')
  if (target === 'NETMAP') return mappedNetwork(written, all, view)
  if (hook === 'POSTROUTING') return outgoing(written, all, view)
  if (target !== 'DNAT') return stays('packets that it accepts are not translated by the rules behind it')
  if (hook === 'OUTPUT')
    return written.to?.address && isInternal(written.to.address, view)
      ? { builtIn: "forwards hold for the node's own connections, too" }
      : stays('it translates connections of the node itself')
  return forward(written, all, view)
}

function zoneLine({ in: name = '', zone }: Written): Becomes {
  return zone !== undefined && name.startsWith('fwbr')
    ? { builtIn: 'pvenat has a zone of its own for packets on firewall bridges' }
    : stays('it is about connection tracking, not NAT')
}
