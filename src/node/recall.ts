/** Facts about this node that a single look cannot find out: the service keeps them in its run folder for the commands. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatRange, parseIp } from '../address.ts'
import type { Sighting } from '../guest/sightings.ts'
import { field, members, parseJson } from '../json.ts'
import { lookOnce, type Looked, type Paths } from './look.ts'
import type { Refused } from './find-refused.ts'

export const RECALL_FILE = 'recall.json'

export interface Recalled {
  /** Addresses at which guests were seen. */
  remembered: readonly Sighting[]
  /** NAT rules that the kernel refuses. */
  quarantined: Refused
}

export function renderRecall({ remembered, quarantined }: Recalled): string {
  const sightings = remembered.map((one) => ({ ...one, ip: formatRange(one.ip) }))
  return `${JSON.stringify({ quarantined: Object.fromEntries(quarantined), sightings })}\n`
}

/** A look with the facts of the service, so that command and service reach the same ruleset; without a service, a plain look. */
export async function lookKnowing(paths: Paths, patienceMs?: number): Promise<Looked> {
  return { ...(await lookOnce(paths, patienceMs)), ...(await recall(paths.runDir)) }
}

/** Empty when the file is missing or may not be read. */
export async function recall(runDir: string): Promise<Recalled> {
  const all = parseJson(await readFile(join(runDir, RECALL_FILE), 'utf8').catch(() => ''))
  const sightings = field(all, 'sightings')
  return {
    remembered: (Array.isArray(sightings)
      ? (sightings as (Omit<Sighting, 'ip'> & { ip: string })[])
      : []
    ).flatMap((one) => {
      const ip = parseIp(one.ip)
      return ip ? [{ ...one, ip }] : []
    }),
    quarantined: new Map(members(field(all, 'quarantined')).map(([id, answer]) => [id, String(answer)])),
  }
}
