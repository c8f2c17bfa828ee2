// The package through its whole life on Debian machines with systemd: installed, restarted, upgraded, booted, removed.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { copyTree, createLab, node1Tree, removeTree, waitFor, type Lab } from '../lab/index.ts'
import { Debian } from './debian.ts'
import { debianRoot, suites } from './root.ts'

describe.each(suites)('on %s', (suite) => {
  let lab: Lab
  let tree: string
  let debian: Debian

  beforeAll(async () => {
    const root = await debianRoot(suite)
    lab = await createLab()
    tree = await copyTree(node1Tree)
    debian = await Debian.create(lab, root, { '/srv/debs': 'dist', '/srv/pve': tree })
    await Promise.all([lab.serve('108', 'tcp', 80), lab.serve('105', 'tcp', 22)])
    await debian.boot()
    await debian.sh('mkdir /etc/pve; mount --bind /srv/pve /etc/pve')
  }, 300_000)
  afterAll(async () => {
    await debian.remove()
    await lab.stop()
    await removeTree(tree)
  })
  const shop = () => lab.ask('inet', 'tcp', '203.0.113.2:8080', { timeoutMs: 200 })

  test('installed, it runs and forwards', async () => {
    console.log(await debian.sh('apt-get -y install /srv/debs/pvenat_0.1.0_all.deb'))
    console.log(await debian.sh('systemctl status pvenat -n 50 || true; systemctl --failed; journalctl -b | tail -40'))
    await waitFor(async () => typeof (await shop()) === 'object')
    expect(await shop()).toMatchObject({ server: '108' })
  })
})
