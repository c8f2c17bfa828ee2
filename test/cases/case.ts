/**
 * A case: one small text file that opens with what it proves and holds input, rules, diagnostics and packets side by side. Its
 * files lie over the tree in fixtures/cases/base.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const casesDir = fileURLToPath(new URL('../../fixtures/cases', import.meta.url))
export const baseTree = `${casesDir}/base`

/** Files as bytes, everything else as text. */
export interface Case {
  name: string
  proves: string
  /** Files by their path below the pve directory, bytes as latin1. */
  files: Map<string, string>
  /** Files that were in force before, where those of now say something else. */
  before: Map<string, string>
  /** Lines `PROTO ADDRESS:PORT NAME [gone]`: what services of the node listen on, or did until now; `*` for every address. Or `PROTO NAME`. */
  listening: string
  /** Lines as in fixtures/cases/network, for a case that needs another network. */
  network: string | undefined
  /** Rules of somebody else in the filter table, for the packets. */
  filter: string
  rules: string
  diagnostics: string
  /** All that is given to the restore programs, without the hashes in the comments; undefined where only `rules` are shown. */
  whole: string | undefined
  packets: string[]
}

const NODE = 'nodes/pve1'
const QEMU = new Set(['106', '107', '200'])

/** Where a file of a case belongs: its name says it, except for a config of a guest that the base tree has not. */
function pathOf(name: string): string {
  if (name.includes('/') || name === 'pvenat.conf' || name === '.vmlist' || name === '.members') return name
  if (name === 'host.fw') return `${NODE}/host.fw`
  if (name.endsWith('.fw')) return `firewall/${name}`
  const [, vmid = ''] = /^(\d+)\.conf$/.exec(name) ?? []
  if (vmid === '') throw new Error(`where does ${name} belong?`)
  return `${NODE}/${QEMU.has(vmid) ? 'qemu-server' : 'lxc'}/${vmid}.conf`
}

/** A case of nothing but these files, for who has no file of it. */
export function caseOf(files: Case['files']): Case {
  return {
    name: '',
    proves: '',
    files,
    before: new Map(),
    network: undefined,
    listening: '',
    filter: '',
    rules: '',
    diagnostics: '',
    whole: undefined,
    packets: [],
  }
}

export function loadCases(): Case[] {
  const names = readdirSync(casesDir).filter((name) => name.endsWith('.case'))
  return names.sort().map((name) => loadCase(name.replace(/\.case$/, '')))
}

function loadCase(name: string): Case {
  const [proves = '', ...parts] = readFileSync(fileOf(name), 'latin1').split(/^=== /m)
  const result: Case = { ...caseOf(new Map()), name, proves: decode(proves).trim() }
  for (const part of parts) {
    const end = part.indexOf('\n')
    const title = part.slice(0, end).trim()
    const body = part.slice(end + 1)
    if (title === 'rules' || title === 'diagnostics' || title === 'whole') result[title] = decode(body).trim()
    else if (title === 'filter' || title === 'listening') result[title] = body
    else if (title.startsWith('before ')) result.before.set(pathOf(title.slice(7)), body)
    else if (title === 'network') result.network = body
    else if (title === 'packets') result.packets = decode(body).trim().split('\n')
    else result.files.set(pathOf(title), body)
  }
  return result
}

/** Writes the golden parts anew and leaves everything else as it is. */
export function updateCase(name: string, golden: Pick<Case, 'rules' | 'diagnostics' | 'whole'>): void {
  const parts = readFileSync(fileOf(name), 'latin1').split(/^(?==== )/m)
  const others = parts.filter((part) => !/^=== (rules|diagnostics|whole)\n/.test(part))
  const at = others.findIndex((part) => part.startsWith('=== packets\n'))
  const fresh = (['rules', 'diagnostics', 'whole'] as const).flatMap((title) => {
    const text = golden[title]
    return text === undefined ? [] : [`=== ${title}\n${encode(text)}\n`]
  })
  others.splice(at < 0 ? others.length : at, 0, ...fresh)
  writeFileSync(fileOf(name), others.join('').replace(/\n*$/, '\n'), 'latin1')
}

function fileOf(name: string): string {
  return `${casesDir}/${name}.case`
}

function decode(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

function encode(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}
