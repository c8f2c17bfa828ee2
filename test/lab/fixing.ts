/** Pastes what pvenat prints as a fix into a shell of a lab node. */
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Lab } from './lab.ts'
import { searchPath } from './machine.ts'
import type { Result } from './namespace.ts'
import type { Pvenat } from './pvenat.ts'

/** The stand-ins for programs of Proxmox VE: node FILE TOOL ARGUMENTS..., with PVE_TREE set. */
export const pveTools = fileURLToPath(new URL('pvetools.mjs', import.meta.url))

/** Puts `pvenat` and stand-ins for the tools of Proxmox VE into a folder beside the tree, and returns what runs a fix. */
export async function makeFixer(
  lab: Lab,
  pvenat: Pvenat,
  tree: string,
  node = 'pve',
): Promise<(lines: readonly string[]) => Promise<Result>> {
  const bin = join(tree, '.bin')
  await mkdir(bin)
  const script = async (name: string, line: string) => {
    await writeFile(join(bin, name), `#!/bin/sh\n${line}\n`)
    await chmod(join(bin, name), 0o755)
  }
  for (const name of ['pvesh', 'pct', 'qm', 'systemctl', 'modprobe'])
    await script(name, `exec '${process.execPath}' '${pveTools}' ${name} "$@"`)
  const [runtime = '', bundle = '', , ...where] = pvenat.argv('')
  await script('pvenat', `exec '${runtime}' '${bundle}' "$@" ${where.map((word) => `'${word}'`).join(' ')}`)
  const env = { PATH: `${bin}:${searchPath}`, PVE_TREE: tree }
  return (lines) => lab.exec(node, ['sh', '-c', lines.join('\n')], { env, check: false })
}
