/** Diagnostics for lost conflicts, at the lines of the losers. */
import { diagnose, placeName, type Diagnostic } from '../diagnostic.ts'
import { label } from '../guest/guest.ts'
import { groupBy } from '../lists.ts'
import { formatPorts } from '../ports.ts'
import { grantedForwards, type Loss } from './conflicts.ts'
import type { Dispatch, Forward, NatRule } from './nat-rule.ts'
import { CLUSTER_FW } from './view.ts'

/** One diagnostic for each pair of loser and winner, with the loser. */
export function reportLosses(
  losses: readonly Loss[],
  dispatches: readonly Dispatch[],
): { loser: NatRule; diagnostic: Diagnostic }[] {
  const groups = new Map<string, { loss: Loss; ports: Set<string> }>()
  const served = groupBy(losses.some(isToFull) ? dispatches.flatMap(grantedForwards) : [], ({ rule }) => rule)
  for (const loss of losses) {
    if (isToFull(loss) && isServed(loss, served.get(loss.loser.rule) ?? [])) continue
    const { loser, winner } = loss
    if ('rule' in winner && loser.rule === winner.rule) continue
    const key = `${loser.rule.id} ${'rule' in winner ? winner.rule.id : winner.vmid}`
    const group = groups.get(key) ?? { loss, ports: new Set() }
    group.ports.add(loss.ports ? `${formatPorts([loss.ports])}/${loser.proto}` : loser.proto)
    groups.set(key, group)
  }
  return [...groups.values()].map(({ loss: { loser, winner }, ports: all }) => {
    const { where } = loser.rule
    const ports = [...all].join(', ')
    if ('rule' in winner) {
      const isSame = samePlace(loser.rule, winner.rule)
      const instead = winner.full ? OTHER_ADDRESS : isSame ? ONE_EACH : undefined
      const facts = {
        ports,
        loser: groupGuest(loser.rule),
        winner: isSame ? `${holder(winner.rule)} through the same rule` : describe(winner.rule),
        winnerFor: describeFor(loser.rule, winner.rule),
        ...(instead === undefined ? { wish: loser.rule.id } : { instead }),
      }
      return { loser: loser.rule, diagnostic: diagnose('port-taken', where, facts) }
    }
    const facts = { what: `external port ${ports}`, vmid: winner.vmid }
    return { loser: loser.rule, diagnostic: diagnose('held', where, facts) }
  })
}

/** Another port in a rule of a group would again be the same port for all guests of the group. */
const ONE_EACH = 'instead of the group, give each guest a rule of its own, with a port of its own'

const OTHER_ADDRESS = 'pick another address, or switch one of the two rules off'

/** Whether both are one line of a group. */
function samePlace({ place: a }: NatRule, { place: b }: NatRule): boolean {
  return a.file === b.file && a.span.from === b.span.from && a.span.line === b.span.line
}

function holder({ scope }: NatRule): string {
  if (scope.kind === 'guest') return `guest ${label(scope.guest)}`
  return scope.kind === 'host' ? 'this node' : 'the datacenter'
}

function isToFull({ loser, winner }: Loss): boolean {
  return !loser.full && winner.proto === 'all'
}

/** Whether the lost ports work at another address. A full=1 at one of several addresses is then no conflict. */
function isServed({ loser, ports }: Loss, pieces: readonly Forward[]): boolean {
  return pieces.some(
    (piece) =>
      piece.proto === loser.proto &&
      (!piece.ports || !ports || (piece.ports[0] <= ports[0] && ports[1] <= piece.ports[1])),
  )
}

/** The guest of a rule that stands in a group, whose line does not name the guest. */
function groupGuest({ place, scope }: NatRule): string | undefined {
  return scope.kind === 'guest' && place.file === CLUSTER_FW ? label(scope.guest) : undefined
}

/** The winner, without the name of another guest: for the owner of the losing guest. */
function describeFor({ scope: own }: NatRule, { place, scope }: NatRule): string {
  if (scope.kind !== 'guest') return scope.kind === 'host' ? 'a rule of the node' : 'a rule of the datacenter'
  return own.kind === 'guest' && own.guest.vmid === scope.guest.vmid ? placeName(place) : 'another guest'
}

/** `105.fw:7 (guest 105 (plain))`: where the winner stands. */
function describe({ place, scope }: NatRule): string {
  const line = placeName(place)
  return scope.kind === 'guest' ? `${line} (guest ${label(scope.guest)})` : line
}
