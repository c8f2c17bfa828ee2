/** Own routing rules and routes: the answer of `ip -j -N`, and the lines of `ip -batch` for a diff. */
import type { Family } from '../address.ts'
import type { IpRoute, IpRule } from '../ip.ts'
import { OWN_PROTOCOL } from '../uplinks.ts'
import type { Change } from './change.ts'
import type { Routing } from './ruleset.ts'

/** Own rules and routes in the words of ruleset/uplinks.ts. `rules`: all of the family; `routes`: those of our protocol alone. */
export function parseRouting(rules: readonly IpRule[], routes: readonly IpRoute[]): Routing {
  return {
    rules: rules.filter(({ protocol }) => protocol === OWN_PROTOCOL).map(ruleLine),
    routes: routes.map(routeLine),
  }
}

function ruleLine({
  priority = 0,
  fwmark,
  fwmask,
  table,
  suppress_prefixlen: suppressed,
  ...rest
}: IpRule): string {
  return [
    `priority ${priority}`,
    ...(rest.src === undefined || rest.src === 'all' ? [] : [`from ${rest.src}/${rest.srclen ?? ''}`]),
    ...(fwmark === undefined ? [] : [`fwmark ${fwmark}${fwmask === undefined ? '' : `/${fwmask}`}`]),
    ...(table === undefined ? [] : [`table ${table}`]),
    ...(suppressed === undefined ? [] : [`suppress_prefixlength ${suppressed}`]),
    `protocol ${OWN_PROTOCOL}`,
  ].join(' ')
}

/** The number of the type `unreachable` in rtnetlink. */
const UNREACHABLE = '7'

function routeLine({
  dst = '',
  type,
  gateway,
  via,
  dev,
  metric,
  table,
  flags = [],
  metrics = [],
}: IpRoute): string {
  const isUnreachable = type === UNREACHABLE || type === 'unreachable'
  const by = gateway ?? (via && `${via.family} ${via.host}`)
  const mtu = metrics.find((one) => one.mtu !== undefined)?.mtu
  return [
    ...(isUnreachable ? ['unreachable'] : []),
    dst,
    ...(by === undefined ? [] : [`via ${by}`]),
    ...(isUnreachable || dev === undefined ? [] : [`dev ${dev}`]),
    ...(flags.includes('onlink') ? ['onlink'] : []),
    ...(mtu === undefined ? [] : [`mtu ${mtu}`]),
    ...(metric === undefined ? [] : [`metric ${metric}`]),
    `table ${table ?? MAIN}`,
    `proto ${OWN_PROTOCOL}`,
  ].join(' ')
}

const MAIN = '254'

/** Lines of `ip -batch`: those that lead packets of a mark come before the marks are set, those that end that after it. */
export interface RoutingPlan {
  before: readonly string[]
  after: readonly string[]
}

export const NO_ROUTING_PLAN: RoutingPlan = { before: [], after: [] }

export function planRouting(
  wanted: Routing,
  installed: Routing,
  family: Family,
  changes: Change[],
): RoutingPlan {
  const rules = differ(wanted.rules, installed.rules)
  const routes = differ(wanted.routes, installed.routes)
  const keys = new Set(routes.missing.map(keyOf))
  // The new route takes the place of one with the same metric in the same table.
  const staleRoutes = routes.extra.filter((line) => !keys.has(keyOf(line)))
  const said = [
    { what: `routing rules`, ...rules },
    { what: `routes`, ...routes },
  ]
  for (const { what, missing, extra } of said) {
    if (missing.length + extra.length === 0) continue
    const kind = extra.length === 0 ? 'add' : missing.length === 0 ? 'remove' : 'replace'
    changes.push({ kind, what, family, removed: extra, added: missing })
  }
  return {
    before: [
      ...routes.missing.map((line) => `route replace ${line}`),
      ...rules.missing.map((line) => `rule add ${line}`),
    ],
    after: [
      ...rules.extra.map((line) => `rule delete ${line}`),
      ...staleRoutes.map((line) => `route delete ${line}`),
    ],
  }
}

/** Lines that are wanted and not installed, and the other way round; a rule that is there twice is too many once. */
function differ(
  wanted: readonly string[],
  installed: readonly string[],
): { missing: string[]; extra: string[] } {
  const left = [...wanted]
  const extra = installed.filter((line) => {
    const at = left.indexOf(line)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
  return { missing: left, extra }
}

function keyOf(line: string): string {
  return line.slice(line.indexOf(' metric '))
}
