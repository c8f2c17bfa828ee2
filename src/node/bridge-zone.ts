/**
 * Table bridge pvenat. The rules of proxmox-firewall switch on connection tracking on bridges, which comes before our zone rule in table
 * raw. Guests that still hang behind a firewall bridge would lose all NAT, so their packets get the zone there.
 */
import { FIREWALL_BRIDGE_ZONE, FIREWALL_BRIDGES } from '../ruleset/firewall-bridges.ts'
import { must, NOT_STARTED, run, type Finished } from './exec.ts'

const TABLE = 'bridge pvenat'
const BRIDGES = FIREWALL_BRIDGES.replace('+', '*')

/** Ahead of the tracking on bridges, at -200. */
const TEXT = `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    meta ibrname "${BRIDGES}" ct zone set ${FIREWALL_BRIDGE_ZONE}
  }
}
`

/** Whether it is there, whole; undefined if nft does not tell. */
export async function hasBridgeZone(): Promise<boolean | undefined> {
  return zoneIn(await run('nft', ['list', 'table', ...TABLE.split(' ')]))
}

/** Whether an answer of `nft list table` shows it. A program that is missing has no tables, nor has a kernel without nf_tables. */
export function zoneIn({ code, stdout, stderr }: Finished): boolean | undefined {
  if (code === 0) return stdout.includes(`ibrname "${BRIDGES}" ct zone set ${FIREWALL_BRIDGE_ZONE}\n`)
  return code === NOT_STARTED || /No such file or directory|not supported/.test(stderr) ? false : undefined
}

/** Makes it, whatever is left of it; or takes it away. Throws CommandFailed where the kernel cannot track connections on bridges. */
export async function setBridgeZone(isWanted: boolean): Promise<void> {
  await must('nft', ['-f', '-'], isWanted ? TEXT : `add table ${TABLE}\ndelete table ${TABLE}\n`)
}
