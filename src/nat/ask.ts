/** `NAT ?`: nothing is forwarded; the answer says what `NAT` alone would come to. */
import { formatRange } from '../address.ts'
import { diagnose, isError, word, type Diagnostic } from '../diagnostic.ts'
import { formatPorts } from '../ports.ts'
import { translateEgress } from './egress.ts'
import { translateForward } from './forward.ts'
import type { Forward, NatRule } from './nat-rule.ts'
import type { Order } from './order.ts'
import { innerPorts } from './pieces.ts'
import { forbidden } from './policy.ts'

/** The answer. The rule itself stays without forwards. */
export function answer(order: Order): Diagnostic {
  const { comment, given } = order
  const auto =
    given && given.size > 0
      ? would({ ...order, comment: { ...comment, endpoint: { kind: 'auto' } } })
      : undefined
  const alone = { ...comment }
  delete alone.endpoint
  const facts = { would: would({ ...order, comment: alone }), auto, wish: order.nat.id }
  return diagnose('asked', comment.places.endpoint ?? order.nat.place, facts)
}

function would(order: Order): string {
  const nat: NatRule = { ...order.nat, asked: undefined, forwards: [], egresses: [], blocks: [] }
  const trial = { ...order, nat }
  const said = order.marked.rule.type === 'out' ? translateEgress(trial) : translateForward(trial)
  const problem = said.find(isError) ?? forbidden(nat, order.view)
  return problem ? `would not be in force: ${word(problem).message}` : wouldDo(nat)
}

function wouldDo({ forwards, egresses }: NatRule): string {
  if (egresses.length > 0) return 'would let it out'
  const ways = [...new Set(forwards.map(wayOf))]
  const more = ways.length - MAX_WAYS
  const shown = ways.slice(0, MAX_WAYS).join(', ')
  return `would open ${shown}${more > 0 ? ` and ${more} more` : ''}`
}

const MAX_WAYS = 4

/** `:80/tcp -> 10.10.10.105:80`. */
function wayOf(forward: Forward): string {
  const { proto, ports, inner } = forward
  const to = innerPorts(forward)
  const address = to && inner.family === 6 ? `[${formatRange(inner)}]` : formatRange(inner)
  return `${ports ? `:${formatPorts([ports])}/` : ''}${proto} -> ${address}${to ? `:${formatPorts([to])}` : ''}`
}
