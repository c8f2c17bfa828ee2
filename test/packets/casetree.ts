/** The node of the golden cases in the lab, and the files of one case on it. */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { baseTree, type Case } from '../cases/case.ts'
import { copyTree, node1Plan, saveInPlace, type Backend, type LabOptions } from '../lab/index.ts'

const others = node1Plan.bridges.filter(({ name }) => name !== 'vmbr0')
const v6 = ['2001:db8:113::7/64', '2001:db8:113::2/64']
const guest = { vmid: 110, kind: 'lxc', firewall: false, mac: 'BC:24:11:00:01:10' } as const
/** The node of the cases. */
export const casePlan: LabOptions = {
  bridges: [
    // The kernel masquerades with the IPv6 address that came last.
    { name: 'vmbr0', addresses: ['203.0.113.2/24', '203.0.113.7/24', ...v6] },
    ...others,
    { name: 'vmbr2', addresses: ['10.20.20.1/24'] },
  ],
  guests: [
    ...node1Plan.guests,
    { ...guest, bridge: 'vmbr2', address: '10.20.20.110/24', gateway: '10.20.20.1' },
  ],
}

/** A scratch copy of the base tree with the files of the case over it. */
export async function makeCaseTree({ files }: Case, backend: Backend): Promise<string> {
  const tree = await copyTree(baseTree)
  const settings = files.get('pvenat.conf') ?? ''
  const own = `[nat]\nbackend = ${backend}\n`
  const all = new Map([...files, ['pvenat.conf', own + settings.replace(/^\[nat\]\n/, '')]])
  for (const [path, text] of all) {
    await mkdir(dirname(join(tree, path)), { recursive: true })
    await saveInPlace(tree, path, Buffer.from(text, 'latin1').toString('utf8'))
  }
  return tree
}
