/** What SNAT, MASQUERADE and exceptions from them become: rules for what guests send. */
import { contains, formatRange, overlap, sameRange } from '../address.ts'
import { isInterface } from '../facts/foreign.ts'
import { PROTOCOLS, protocolName } from '../nat/template.ts'
import { renderComment } from '../nat/free-text.ts'
import type { View } from '../nat/view.ts'
import { fieldOf, goingOut, isCarried, isInternal, ofNode, stays, type Becomes } from './guirule.ts'
import type { Written } from './foreign-rule.ts'

export function outgoing(written: Written, all: readonly Written[], view: View): Becomes {
  const { target, source, destination, proto, ports } = written
  if (destination && isInternal(destination, view)) return toInside(written, all, view)
  const options = leavingBy(written, view)
  if (typeof options === 'string') return stays(options)
  const reason = objectionTo(written, view)
  if (reason !== undefined) return stays(reason)
  const isExempt = target === 'ACCEPT' || target === 'RETURN'
  const comment = isExempt
    ? renderComment({ word: 'none', options: [] })
    : renderComment({ address: namedAddress(written, view), options })
  return {
    rule: {
      ...(source ? goingOut(source, view) : ofNode(view)),
      type: 'out',
      ...(destination ? { dest: formatRange(destination) } : {}),
      ...(proto === undefined ? {} : { proto }),
      ...(ports ? { dport: fieldOf(ports) } : {}),
      comment,
    },
  }
}

/** Why no OUT rule says what a rule does. */
function objectionTo(
  { target, source, not, to, proto, ...written }: Written,
  { network }: View,
): string | undefined {
  if (written.sports || written.in !== undefined || written.isLocal || not.source)
    return 'an outgoing rule cannot ask for that'
  if (source && !network.internal.some((one) => overlap(one.network, source)))
    return `${formatRange(source)} is no internal network of this node`
  if (!source && written.out === undefined) return 'it is about the packets of all interfaces: name a source'
  if (to?.ports) return 'pvenat leaves source ports to the kernel'
  if (target === 'SNAT' && !to?.address) return 'it names several addresses'
  if (to?.address && !isCarried(to.address, network))
    return `${formatRange(to.address)} is no address of this node`
  return proto === undefined || PROTOCOLS.has(protocolName(proto))
    ? undefined
    : `pvenat has nothing for the protocol ${proto}`
}

/** The address of SNAT, where the node has another one that masquerading might choose. */
function namedAddress({ to, family }: Written, { network }: View): string | undefined {
  const own = network.external.flatMap(({ addresses }) => addresses.filter((one) => one.family === family))
  const isOnly = own.length === 1 && own.every((one) => to?.address && sameRange(one, to.address))
  return to?.address && !isOnly ? formatRange(to.address) : undefined
}

/** `if=` where a rule names one of several external interfaces; a text where pvenat translates nothing. */
function leavingBy({ out, not, destination, family }: Written, { network }: View): string[] | string {
  const inside = network.internal.filter((one) => one.network.family === family)
  if (not.destination && !inside.some((one) => not.destination && contains(not.destination, one.network)))
    return `no destination can be excepted: '! -d ${formatRange(not.destination)}'; write an OUT rule NAT none for it`
  if (destination && not.destination) return 'it names a destination and excepts one'
  if (not.out !== undefined && network.external.some(({ name }) => isInterface(not.out, name)))
    return `no external interface can be excepted: '! -o ${not.out}'`
  const by = network.external.filter(({ name }) => out === undefined || isInterface(out, name))
  if (by.length === 0) return `${out} is no external interface of this node`
  if (by.length === network.external.length) return []
  return by.length === 1 ? [`if=${by[0]?.name}`] : `${out} stands for some of the external interfaces`
}

/** Towards guests: what makes them reach each other through the external address. */
function toInside(written: Written, all: readonly Written[], view: View): Becomes {
  const { source, destination, target, ports } = written
  if (target !== 'MASQUERADE' && target !== 'SNAT')
    return { builtIn: 'pvenat translates nothing between internal networks' }
  const isForwarded = all.some(
    (one) => one.target === 'DNAT' && one.to?.address && destination && contains(destination, one.to.address),
  )
  if (source && isInternal(source, view) && (isForwarded || !ports))
    return { builtIn: 'guests reach each other through the external address by themselves' }
  return stays(
    'the guest would see the address of the node: add the option snat=1 to the rule that leads to it',
  )
}
