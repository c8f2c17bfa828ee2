/** The files of fixtures/learnt, as they lie on a node. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LearntFolders } from '../../src/node/learnt.ts'

export const pveDir = fileURLToPath(new URL('../../fixtures/learnt', import.meta.url))

export const folders: LearntFolders = { dnsmasq: join(pveDir, 'dnsmasq.d'), leases: join(pveDir, 'misc') }

export function fixture(name: string): string {
  return readFileSync(join(pveDir, name), 'utf8')
}

/** The time at which the fixtures were taken. */
export const NOW = 1_700_000_000
