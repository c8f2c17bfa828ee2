/** The oldest builds of Node.js that the service must run on; the newest ones of both majors are in the Debian roots. */
import { access } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'

/** The folder that holds them, and where in it the program of each version is. Those of the npm package `node` are fetched once. */
export async function runtimes(): Promise<{ folder: string; programs: Map<string, string> }> {
  const folder = join(tmpdir(), 'pvenat-nodes')
  const programs = new Map<string, string>()
  for (const version of ['18.19.0', '20.19.0']) {
    const prefix = join(folder, version)
    const program = 'node_modules/node/bin/node'
    await access(join(prefix, program)).catch(() =>
      execa('npm', ['install', '--prefix', prefix, `node@${version}`]),
    )
    programs.set(`v${version}`, join(version, program))
  }
  return { folder, programs }
}
