/** What a NAT rule of others becomes: a firewall rule with a comment, something that pvenat does by itself, or nothing, with the reason. */
import { keeperOf } from '../facts/keepers.ts'
import type { View } from '../nat/view.ts'
import { isInternal, ruleLine, stays, type Becomes } from './guirule.ts'
import { forward } from './incoming.ts'
import type { Written } from './foreign-rule.ts'
import { outgoing } from './outgoing.ts'

/** Each rule with what becomes of it. A rule that comes again (in the other backend, or at boot) becomes nothing new. */
export function becomeAll(all: readonly Written[], view: View): { written: Written; becomes: Becomes }[] {
  const lines = new Set<string>()
  return all.map((written) => {
    const becomes = becomesOf(written, all, view)
    if (!('rule' in becomes)) return { written, becomes }
    const line = `${becomes.rule.file} ${ruleLine(becomes.rule)}`
    if (lines.has(line)) return { written, becomes: { builtIn: 'it does the same as a rule above' } }
    lines.add(line)
    return { written, becomes }
  })
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
  if (target === 'NETMAP')
    return stays('pvenat translates single addresses: write a rule with full=1 for each')
  if (hook === 'POSTROUTING') return outgoing(written, all, view)
  if (target !== 'DNAT') return stays('packets that it accepts are not translated by the rules behind it')
  if (hook === 'OUTPUT')
    return written.to?.address && isInternal(written.to.address, view)
      ? { builtIn: "forwards hold for the node's own connections, too" }
      : stays('it translates connections of the node itself')
  return forward(written, view)
}

function zoneLine({ in: name = '', zone }: Written): Becomes {
  return zone !== undefined && name.startsWith('fwbr')
    ? { builtIn: 'pvenat has a zone of its own for packets on firewall bridges' }
    : stays('it is about connection tracking, not NAT')
}
