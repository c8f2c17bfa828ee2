/** Reads what SDN, dnsmasq and the kernel tell about guests. A file that is missing or cannot be read says nothing. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { LearntTexts } from '../guest/learnt.ts'
import { FRESH, type Senses } from './senses.ts'
import { codeOf } from './tree.ts'

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
  pveDir: string,
  { dnsmasq, leases }: LearntFolders = LEARNT_FOLDERS,
  { files, ask, neighbours }: Senses = FRESH,
): Promise<LearntTexts> {
  const read = (file: string): Promise<string | undefined> => files.read(file, () => readText(file))
  const [sdn, ipam, macCache, ethers, lease, neighbour] = await Promise.all([
    read(join(pveDir, 'sdn/.running-config')),
    readIpam(pveDir, read),
    read(join(pveDir, 'sdn/mac-cache.json')),
    readAll(dnsmasq, /^[^.]/, (zone) => read(join(dnsmasq, zone, 'ethers'))),
    readAll(leases, /^dnsmasq(\..+)?\.leases$/, (name) => readLeases(join(leases, name))),
    ask('neighbours', NEIGHBOURS_AGE_MS, neighbours),
  ])
  return {
    sdn,
    ethers,
    lease,
    ipam: listOf(ipam),
    'mac-cache': listOf(macCache),
    neighbour: listOf(neighbour),
  }
}

/** The older file counts only while the newer does not exist (pve-network PVEPlugin.pm). */
async function readIpam(pveDir: string, read: typeof readText): Promise<string | undefined> {
  const text = await read(join(pveDir, 'sdn/pve-ipam-state.json'))
  return text ?? (await read(join(pveDir, 'priv/ipam.db')))
}

/** dnsmasq truncates the file and writes it anew: what looks torn is read once more. */
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
