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
  if (hook === 'OUTPUT') return { builtIn: "full=1 holds for the node's own connections, too" }
  if (hook === 'POSTROUTING')
    return all.some((one) => isWayInto(one, written))
      ? { builtIn: 'full=1 of the rule for that network maps the way out, too' }
      : stays('it maps the way out alone, and full=1 maps both')
  if (!destination || destination.lo === destination.hi) return stays('it names no network that it maps')
  if (!sameSize(destination, network)) return stays('the two networks are not of one size')
  if (proto !== undefined || written.ports || written.sports || written.out !== undefined)
    return stays('full=1 maps a network with all its ports')
  if (Object.keys(not).length > 0) return stays('full=1 of a network can except nothing')
  const options = arrivingBy(written.in, view.network)
  if (typeof options === 'string') return stays(options)
  const comment = renderComment({
    address: formatRange(destination),
    options: ['full=1', `to=${formatRange(network)}`, ...options],
  })
  return {
    rule: { ...ofNode(view), type: 'in', ...(source ? { source: formatRange(source) } : {}), comment },
  }
}

/** Whether a rule maps the way in of which `out` maps the way back. */
function isWayInto({ hook, target, destination, to }: Written, out: Written): boolean {
  const isSame = (one: Range | undefined, other: Range | undefined): boolean =>
    one !== undefined && other !== undefined && sameRange(one, other)
  const isMap = hook === 'PREROUTING' && target === 'NETMAP'
  return isMap && isSame(destination, out.to?.network) && isSame(to?.network, out.source)
}
