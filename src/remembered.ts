/** Facts that pass from one look to the next: in the service, over restarts, and in commands. */
import { nextLedger } from './nat/ledger.ts'
import { nodePortsNow, restorePorts, storePorts, type NodePort, type StoredPort } from './nat/node-ports.ts'
import { CONFIRM_SECONDS, type Ledger } from './nat/rights.ts'
import { guestFw } from './nat/view.ts'
import type { Outcome } from './pipeline.ts'
import type { Look } from './read.ts'
import { storedUplinks, type StoredUplink } from './uplinks.ts'

/** Rights and the identities of their owners, as in `Ledger`. Undefined: nothing is known of them. */
export interface SavedLedger {
  rights: string[] | undefined
  guests: Record<string, string>
}

export interface Remembered extends SavedLedger {
  /** As in `Ledger`. */
  missing: Record<string, number>
  nodePorts: StoredPort[]
  uplinks: StoredUplink[]
}

/** The rights of guests, the guests that cannot be judged now, and the ports of the node; `seen`: its ports in use now. */
export function recall(
  { rights, guests, missing, nodePorts }: Omit<Remembered, 'uplinks'>,
  { tree, node, now }: Pick<Look, 'tree' | 'node' | 'now'>,
  seen: readonly NodePort[],
): Required<Pick<Look, 'nodePorts'>> & { ledger: Ledger | undefined } {
  const ports = nodePortsNow(seen, restorePorts(nodePorts), now)
  if (!rights) return { nodePorts: ports, ledger: undefined }
  const stale = new Set(tree.stale?.map(({ file }) => file))
  const still: Record<string, number> = {}
  const unjudged = new Set<number>()
  for (const vmid of Object.keys(guests).map(Number)) {
    const owner = tree.owners.get(vmid)
    const isMissing = owner === undefined || (owner === node && !tree.fw.has(guestFw(vmid)))
    const since = Math.min(missing[vmid] ?? now, now)
    if (isMissing) still[vmid] = since
    const isConfirmed = now - since >= CONFIRM_SECONDS
    const isElsewhere = owner !== undefined && owner !== node
    if (isElsewhere || stale.has(guestFw(vmid)) || (isMissing && !isConfirmed)) unjudged.add(vmid)
  }
  return { nodePorts: ports, ledger: { rights, guests, unjudged, missing: still } }
}

/** The facts to remember of a look and its outcome. */
export function remember(
  { ledger, nodePorts = [], network }: Pick<Look, 'ledger' | 'nodePorts' | 'network'>,
  { view, translation }: Pick<Outcome, 'view' | 'translation'>,
): Remembered & { rights: string[] } {
  const next = nextLedger(view, translation.rights)
  const missing = Object.entries(ledger?.missing ?? {}).filter(([vmid]) => vmid in next.guests)
  const uplinks = storedUplinks(network.external)
  return { ...next, missing: Object.fromEntries(missing), nodePorts: storePorts(nodePorts), uplinks }
}
