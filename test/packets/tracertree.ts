/** The tree of the node that random rule files are for, without the files. */
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { configOf, GUESTS, NODE } from '../tracer/world.ts'

export async function writeTree(dir: string, config = configOf): Promise<void> {
  const ids = GUESTS.map(({ vmid, kind }) => [vmid, { node: NODE, type: kind, version: 1 }])
  const files = new Map([
    ['.vmlist', JSON.stringify({ version: 1, ids: Object.fromEntries(ids) as unknown })],
    ['firewall/cluster.fw', ''],
    ...GUESTS.map((guest) => {
      const folder = guest.kind === 'qemu' ? 'qemu-server' : 'lxc'
      return [`nodes/${NODE}/${folder}/${guest.vmid}.conf`, config(guest)] as const
    }),
  ])
  for (const [name, text] of files) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), text)
  }
  await symlink(`nodes/${NODE}`, join(dir, 'local'))
}
