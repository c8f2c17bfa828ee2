/** The ipsets `ipfilter-netN` of a guest's own .fw: the addresses that its NIC may use. */
import { isLinkLocal6, parseCidr, type Family, type Range } from '../address.ts'
import type { FwFile } from '../fw/fw-file.ts'
import { entryCidr } from '../fw/scope.ts'

/** The address that the NIC is confined to, if the set has just one entry of the family and that is a host. */
export function confinedTo(nic: number, family: Family, own: FwFile, cluster: FwFile): Range | undefined {
  const [only, ...more] = entries(`ipfilter-net${nic}`, own, cluster).filter(
    ({ range }) => range.family === family && !isLinkLocal6(range),
  )
  return only && more.length === 0 && isHost(only) ? only.range : undefined
}

/** Every single address that the guest's sets name. */
export function filterHosts(own: FwFile, cluster: FwFile): Range[] {
  const names = [...own.ipset.keys()].filter((name) => /^ipfilter-net\d+$/.test(name))
  return names.flatMap((name) =>
    entries(name, own, cluster)
      .filter(isHost)
      .map(({ range }) => range),
  )
}

interface Entry {
  range: Range
  nomatch: boolean
}

function isHost({ range, nomatch }: Entry): boolean {
  return range.lo === range.hi && !nomatch
}

function entries(name: string, own: FwFile, cluster: FwFile): Entry[] {
  return (own.ipset.get(name)?.entries ?? []).flatMap(({ cidr, nomatch, errors }) => {
    if (errors) return []
    const range = parseCidr(entryCidr(cidr, { cluster, own }) ?? '')
    return range ? [{ range, nomatch: nomatch === 1 }] : []
  })
}
