/** Reads the facts of SDN, dnsmasq and the kernel about guests. A file that is missing or unreadable counts as empty. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { LearntTexts } from '../guest/sightings.ts'
import { NO_ANSWERS, type Answers } from './answers.ts'
import { run } from './exec.ts'
import { SDN_FILES } from './rounds.ts'
import { codeOf, type PveFiles } from './tree.ts'

/** The folders outside the pve directory. */
export interface LearntFolders {
  /** Holds ZONE/ethers. */
  dnsmasq: string
  leases: string
}

export const LEARNT_FOLDERS: LearntFolders = { dnsmasq: '/etc/dnsmasq.d', leases: '/var/lib/misc' }

const REWRITE_MS = 20

/** A look that is repeated at once, to be sure of the files, need not ask for neighbours again. */
const NEIGHBOURS_AGE_MS = 900

export async function readLearnt(
  pve: PveFiles,
  { dnsmasq, leases }: LearntFolders = LEARNT_FOLDERS,
  { files, ask }: Answers = NO_ANSWERS,
): Promise<LearntTexts> {
  const read = (file: string): Promise<string | undefined> => files.read(file, () => readText(file))
  const text = (file: string): string | undefined => {
    const found = pve.get(file)
    return typeof found === 'string' ? found : undefined
  }
  const [ethers, lease, neighbour] = await Promise.all([
    readAll(dnsmasq, /^[^.]/, (zone) => read(join(dnsmasq, zone, 'ethers'))),
    readAll(leases, /^dnsmasq(\..+)?\.leases$/, (name) => readLeases(join(leases, name))),
    ask('neighbours', NEIGHBOURS_AGE_MS, readNeighbours),
  ])
  return {
    sdn: text(SDN_FILES.running),
    ethers,
    lease,
    // The older file counts only while the newer does not exist (pve-network PVEPlugin.pm).
    ipam: listOf(text(SDN_FILES.ipam) ?? text(SDN_FILES.oldIpam)),
    'mac-cache': listOf(text(SDN_FILES.macCache)),
    neighbour: listOf(neighbour),
  }
}

/** The neighbour table, as `ip -j` has it; undefined when it does not tell. */
async function readNeighbours(): Promise<string | undefined> {
  const { code, stdout } = await run('ip', ['-j', 'neigh', 'show'])
  return code === 0 ? stdout : undefined
}

/** dnsmasq truncates the file and writes it anew: a text that looks torn is read once more. */
async function readLeases(file: string): Promise<string | undefined> {
  const text = await readText(file)
  if (text === undefined || text.endsWith('\n')) return text
  await delay(REWRITE_MS)
  return readText(file)
}

async function readAll(
  folder: string,
  pattern: RegExp,
  read: (name: string) => Promise<string | undefined>,
): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => (codeOf(folder, error), []))
  const texts = await Promise.all(
    names
      .filter((name) => pattern.test(name))
      .sort()
      .map(read),
  )
  return texts.filter((text) => text !== undefined)
}

function listOf(text: string | undefined): string[] {
  return text === undefined ? [] : [text]
}

function readText(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch((error: unknown) => void codeOf(file, error))
}
