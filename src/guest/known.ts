/**
 * Which addresses count as a guest's, from every source there is, worked out once for the whole node.
 *
 * Settings and config say what somebody wrote down. All else can be influenced from inside the guest or by whoever edits
 * its firewall and MAC: it counts only in an internal network on the NIC's own bridge, never when it is the node's own
 * address, nor when a stronger source gives it to another guest; and when two guests come to the same address
 * that way, it is neither's.
 */
import { contains, FAMILIES, formatRange, overlap, sameRange, type Family, type Range } from '../address.ts'
import type { FwFile } from '../fw/model.ts'
import type { InternalNetwork, Network, OwnedGuest } from '../nat/view.ts'
import type { Settings } from '../settings.ts'
import { confinedTo, filterHosts } from './ipfilter.ts'
import type { Learnt, Sighting } from './learnt.ts'
import { ADDRESS_SOURCES, type AddressSource, type Guest, type Known, type KnownAddresses } from './model.ts'
import type { Nic } from './model.ts'

export interface Evidence {
  guests: readonly OwnedGuest[]
  cluster: FwFile
  network: Network
  settings: Settings
  learnt: Learnt
}

/** By VMID; every guest of the node has an entry. */
export function resolveKnown(evidence: Evidence): Map<number, KnownAddresses> {
  const owners = collectOwners(evidence)
  const sightings = indexSightings(evidence.learnt.sightings)
  const known = new Map<number, KnownAddresses>()
  for (const { guest, fw } of evidence.guests) {
    const ip = evidence.settings.guests.get(guest.vmid)?.address
    const own: KnownAddresses = { nics: new Map(), refused: [] }
    if (ip) own.set = { ip, from: 'settings' }
    for (const nic of guest.nics) {
      const claims = { 4: claimsOf(4), 6: claimsOf(6) }
      own.nics.set(nic.index, chooseAll(claims, guest, nic, own, evidence.network, owners))
      function claimsOf(family: Family): Claim[] {
        return collectClaims(guest, nic, fw, family, evidence, sightings)
      }
    }
    known.set(guest.vmid, own)
  }
  refuseShared(known)
  return known
}
