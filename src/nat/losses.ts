/** Lost conflicts, told at the lines of the losers. */
import { diagnose, placeName, type Diagnostic } from '../diagnostic.ts'
import { label } from '../guest/model.ts'
import { formatPorts } from '../ports.ts'
import type { Loss } from './conflicts.ts'
import type { NatRule } from './model.ts'
import { CLUSTER_FW } from './view.ts'

/** One diagnostic for each pair of loser and winner, with the loser. */
export function reportLosses(losses: readonly Loss[]): { loser: NatRule; diagnostic: Diagnostic }[] {
  const groups = new Map<string, { loss: Loss; ports: Set<string> }>()
  for (const loss of losses) {
    const { loser, winner } = loss
    if ('rule' in winner && loser.rule === winner.rule) continue
    const key = `${loser.rule.id} ${'rule' in winner ? winner.rule.id : winner.vmid}`
    const group = groups.get(key) ?? { loss, ports: new Set() }
    const { proto } = loser.full ? winner : loser
    group.ports.add(loss.ports ? `${formatPorts([loss.ports])}/${proto}` : proto)
    groups.set(key, group)
  }
  return [...groups.values()].map(({ loss: { loser, winner }, ports: all }) => {
    const { where } = loser.rule
    const ports = [...all].join(', ')
    if ('rule' in winner) {
      const facts = {
        ports,
        loser: groupGuest(loser.rule),
        winner: describe(winner.rule),
        winnerFor: describeFor(loser.rule, winner.rule),
        wish: loser.rule.id,
      }
      return { loser: loser.rule, diagnostic: diagnose('port-taken', where, facts) }
    }
    const facts = { what: `external port ${ports}`, vmid: winner.vmid }
    return { loser: loser.rule, diagnostic: diagnose('held', where, facts) }
  })
}

/** The guest of a rule that stands in a group: its line says nothing of the guest. */
function groupGuest({ place, scope }: NatRule): string | undefined {
  return scope.kind === 'guest' && place.file === CLUSTER_FW ? label(scope.guest) : undefined
}

/** The winner as the owner of the losing guest may see it. */
function describeFor({ scope: own }: NatRule, { place, scope }: NatRule): string {
  if (scope.kind !== 'guest') return scope.kind === 'host' ? 'a rule of the node' : 'a rule of the datacenter'
  return own.kind === 'guest' && own.guest.vmid === scope.guest.vmid ? placeName(place) : 'another guest'
}

/** `105.fw:7 (guest 105 (plain))`: where the winner stands. */
function describe({ place, scope }: NatRule): string {
  const line = placeName(place)
  return scope.kind === 'guest' ? `${line} (guest ${label(scope.guest)})` : line
}
