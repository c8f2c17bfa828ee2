/** The Node.js builds that the service must run on: the oldest ones of both majors, and this machine's. */
import { access } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'

/** Versions, and where their programs are; those of the npm package `node` are fetched once. */
export async function runtimes(): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const version of ['18.19.0', '20.19.0']) {
    const prefix = join(tmpdir(), 'pvenat-nodes', version)
    const program = join(prefix, 'node_modules/node/bin/node')
    await access(program).catch(() => execa('npm', ['install', '--prefix', prefix, `node@${version}`]))
    found.set(`v${version}`, program)
  }
  return found.set(process.version, process.execPath)
}
