/** PVENAT-POSTROUTING: who is seen as whom. */
import type { Dispatch } from '../nat/claims.ts'
import type { Egress } from '../nat/model.ts'
import type { InternalNetwork, View } from '../nat/view.ts'
import { matches, packets } from './conditions.ts'
import type { Rule, Target } from './model.ts'

/** Guests of one network that call each other by the external address: the answer must come back through this node. */
export function hairpin(internal: readonly InternalNetwork[], view: View): Rule[] {
  if (view.settings.hairpin === 'no') return []
  return internal.map(({ network }) => ({
    ...{ source: { ranges: [network] }, destination: { ranges: [network] } },
    ...{ state: 'DNAT', target: { kind: 'masquerade' } },
  }))
}

/** snat=1: the guest sees the node's inner address, of the very clients and ports that were granted to the forward. */
export function innerSource({ common, addresses }: Dispatch): Rule[] {
  return addresses.flatMap(({ address, special, common: shares }) =>
    [...special, ...(shares ? common : [])]
      .filter(({ snat }) => snat)
      .map(({ inner, source, proto, ports, rule }) => ({
        ...(proto === 'all' ? {} : { proto }),
        ...matches(source, { ranges: [inner] }),
        ...{ state: 'DNAT' as const, originalDestination: address },
        ...(ports ? { originalPorts: ports } : {}),
        ...{ target: { kind: 'masquerade' as const }, serves: rule.id },
      })),
  )
}

/** Exemptions come before translations, whatever the order of the files. Every rule has a source and an interface. */
export function sourceTranslation(egresses: readonly Egress[]): Rule[] {
  const ordered = [...egresses.filter(({ exempt }) => exempt), ...egresses.filter(({ exempt }) => !exempt)]
  return ordered.flatMap((egress) => {
    const { source, destination, out, to, exempt, rule } = egress
    const target: Target = exempt ? { kind: 'return' } : to ? { kind: 'snat', to } : { kind: 'masquerade' }
    return out.map((name) => ({
      ...packets(egress),
      ...matches(source, destination),
      out: name,
      target,
      serves: rule.id,
    }))
  })
}
