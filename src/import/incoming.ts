/** What DNAT becomes: a forward. */
import { contains, formatRange, sameRange, type Range } from '../address.ts'
import { isInterface } from '../facts/foreign.ts'
import { WITH_PORTS, WITHOUT_PORTS, protocolName } from '../nat/template.ts'
import { renderComment } from '../nat/free-text.ts'
import type { View } from '../nat/view.ts'
import { formatPorts, type PortRange } from '../ports.ts'
import { fieldOf, isCarried, leadingTo, stays, type Becomes } from './guirule.ts'
import type { Written } from './foreign-rule.ts'

export function forward(written: Written, all: readonly Written[], view: View): Becomes {
  const { to, family, source, not, proto } = written
  const inner = to?.address
  if (!inner) return stays('it names no single address to lead to')
  if (view.network.own.some(({ ip }) => sameRange(ip, inner)))
    return stays('it leads to an address of the node itself')
  if (written.sports || written.out !== undefined) return stays('a forward cannot ask for that')
  const place = externalOf(written, all, view)
  if (typeof place === 'string') return stays(place)
  const options = [...place.options]
  if (not.source !== undefined) {
    const isInside = view.network.internal
      .filter(({ network }) => network.family === family)
      .every(({ network }) => not.source && contains(not.source, network))
    if (!isInside) return stays(`no source can be excepted: '! -s ${formatRange(not.source)}'`)
    options.push('hairpin=0')
  }
  const fields = proto === undefined ? everything(written, place, view) : portsOf(written, place)
  if (typeof fields === 'string') return stays(fields)
  const comment = renderComment({ ...fields, options: [...(fields.options ?? []), ...options] })
  return {
    rule: {
      ...leadingTo(inner, view),
      type: 'in',
      ...(source ? { source: formatRange(source) } : {}),
      ...(proto === undefined ? {} : { proto }),
      ...(fields.dport === undefined ? {} : { dport: fields.dport }),
      comment,
    },
  }
}

interface Place {
  /** An address that the comment has to name. */
  address?: Range
  options: string[]
}

/** Where packets of a DNAT rule arrive; a text where pvenat forwards nothing. */
function externalOf(
  { destination, in: name, not, family }: Written,
  others: readonly Written[],
  { network }: View,
): Place | string {
  const all = network.external.flatMap(({ addresses }) => addresses.filter((one) => one.family === family))
  if (not.destination) return `no address can be excepted: '! -d ${formatRange(not.destination)}'`
  if (not.in !== undefined && network.external.some((one) => isInterface(not.in, one.name)))
    return `no external interface can be excepted: '! -i ${not.in}'`
  const options = arrivingBy(name, network)
  if (typeof options === 'string') return options
  if (!destination) return { options }
  const isExternal = all.some((one) => sameRange(one, destination))
  const isMapped = others.some(
    ({ target, destination: one }) => target === 'NETMAP' && one && contains(one, destination),
  )
  if (!isExternal && !isMapped && !isCarried(destination, network))
    return `${formatRange(destination)} is no address of this node`
  return isExternal && all.length === 1 ? { options } : { address: destination, options: [] }
}

/** `if=` where a rule names one of several external interfaces; a text where pvenat forwards nothing. */
export function arrivingBy(name: string | undefined, { external }: View['network']): string[] | string {
  const at = external.filter((one) => name === undefined || isInterface(name, one.name))
  if (at.length === 0) return `${name} is no external interface of this node`
  if (at.length === external.length) return []
  return at.length === 1 ? [`if=${at[0]?.name}`] : `${name} stands for some of the external interfaces`
}

interface Fields {
  address?: string | undefined
  ports?: string | undefined
  dport?: string
  options?: string[]
}

/** Of a rule without a protocol: all that arrives at an address. */
function everything({ destination, family }: Written, _place: Place, { network }: View): Fields | string {
  const all = network.external.flatMap(({ addresses }) => addresses.filter((one) => one.family === family))
  if (!destination || all.length < 2 || sameRange(destination, all[0] as Range))
    return "it takes everything that arrives at the node's own address, the GUI and ssh, too: name the ports"
  return { address: formatRange(destination), options: ['full=1'] }
}

/** External and inner ports, as pvenat pairs them. */
function portsOf({ proto: name = '', ports, to }: Written, { address }: Place): Fields | string {
  const proto = protocolName(name)
  const at = address && formatRange(address)
  if (WITHOUT_PORTS.has(proto)) return { address: at }
  if (!WITH_PORTS.has(proto)) return `pvenat does not forward the protocol ${name}`
  if (!ports) return `it takes every port of ${name}, those of the node, too: name the ports`
  const inner = to?.ports
  const outside = formatPorts(ports)
  const dport = fieldOf(inner ? [inner] : ports)
  if (!inner) return { address: at, ...(at === undefined ? {} : { ports: outside }), dport }
  const [only, ...more] = ports
  const isSame = more.length === 0 && only?.[0] === inner[0] && only[1] === inner[1]
  const width = (range: PortRange): number => range[1] - range[0]
  const isPaired =
    width(inner) === 0 ||
    isSame ||
    (to.isShifted && only && more.length === 0 && width(only) === width(inner))
  if (!isPaired)
    return `the kernel chooses among the ports ${formatPorts([inner])}: pvenat pairs each port with one`
  return { address: at, ports: isSame && at === undefined ? undefined : outside, dport }
}
