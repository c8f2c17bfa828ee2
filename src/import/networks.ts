/** What NETMAP becomes: a rule with full=1 for a network, which maps both ways. */
import { formatRange, sameRange, sameSize, type Range } from '../address.ts'
import { renderComment } from '../nat/free-text.ts'
import type { View } from '../nat/view.ts'
import { ofNode, stays, type Becomes } from './guirule.ts'
import { arrivingBy } from './incoming.ts'
import type { Written } from './foreign-rule.ts'

export function mappedNetwork(written: Written, all: readonly Written[], view: View): Becomes {
  const { hook, to: { network } = {}, source, destination, proto, not } = written
  if (!network) return stays('it names no network to lead to')
  if (hook !== 'PREROUTING') return alongside(written, all, view)
  if (!destination || destination.lo === destination.hi) return stays('it names no network that it maps')
  if (!sameSize(destination, network)) return stays('the two networks are not of one size')
  if (proto !== undefined || written.ports || written.sports || written.out !== undefined)
    return stays('full=1 maps a network with all its ports')
  if (Object.keys(not).length > 0) return stays('full=1 of a network can except nothing')
  const options = arrivingBy(interfaceOf(written, all), view.network)
  if (typeof options === 'string') return stays(options)
  const comment = renderComment({
    address: formatRange(destination),
    options: ['full=1', `to=${formatRange(network)}`, ...options],
  })
  return {
    rule: { ...ofNode(view), type: 'in', ...(source ? { source: formatRange(source) } : {}), comment },
  }
}

/** The interface that a rule for the way in names, else the one that each rule for its way out names. */
function interfaceOf(written: Written, all: readonly Written[]): string | undefined {
  if (written.in !== undefined) return written.in
  const [first, ...more] = all.filter(
    (one) => one.hook === 'POSTROUTING' && one.target === 'NETMAP' && isWayInto(written, one),
  )
  return more.every(({ out }) => out === first?.out) ? first?.out : undefined
}

/** Of a rule that maps the way out, or the node's own connections: full=1 does it where the way in becomes a rule. */
function alongside(written: Written, all: readonly Written[], view: View): Becomes {
  const isOut = written.hook === 'POSTROUTING'
  const hasRule = all.some(
    (one) => isWayInto(one, written) && one.unread.length === 0 && 'rule' in mappedNetwork(one, all, view),
  )
  if (!hasRule)
    return stays(
      isOut
        ? 'it maps the way out alone, and full=1 maps both'
        : "it maps the node's own connections alone, and full=1 maps those of all",
    )
  return {
    builtIn: isOut
      ? 'full=1 of the rule for that network maps the way out, too'
      : "full=1 holds for the node's own connections, too",
  }
}

/** Whether a rule maps the way in to the network that `other` maps on another hook. */
function isWayInto({ hook, target, source, destination, to }: Written, other: Written): boolean {
  const isOwn = other.hook === 'OUTPUT'
  // The node is no client that a source names.
  if (hook !== 'PREROUTING' || target !== 'NETMAP' || (isOwn && source)) return false
  const [outside, inside] = isOwn ? [other.destination, other.to?.network] : [other.to?.network, other.source]
  return isSame(destination, outside) && isSame(to?.network, inside)
}

function isSame(one: Range | undefined, other: Range | undefined): boolean {
  return one !== undefined && other !== undefined && sameRange(one, other)
}
