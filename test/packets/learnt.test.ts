// A guest by DHCP: nothing but the kernel's neighbour table, or a lease, tells its address.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  copyTree,
  createLab,
  node1Tree,
  Pvenat,
  removeTree,
  saveLikeGui,
  waitFor,
  type Lab,
} from '../lab/index.ts'

describe.each(backends)('a guest by DHCP on %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  let mac: string

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure('interval = 1')
    const config = 'nodes/pve1/lxc/105.conf'
    const text = await readFile(join(tree, config), 'utf8')
    mac = (await lab.exec('105', ['cat', '/sys/class/net/eth0/address'])).stdout.trim().toUpperCase()
    await saveLikeGui(
      tree,
      config,
      text.replace(/ip=[^,]*/, 'ip=dhcp').replace(/hwaddr=[^,]*/, `hwaddr=${mac}`),
    )
    await lab.serve('105', 'tcp', 22)
    await lab.exec('pve', ['ip', 'neigh', 'flush', 'all'], { check: false })
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const ssh = () => lab.ask('inet', 'tcp', '203.0.113.2:1022', { timeoutMs: 100 })

  test('is reached as soon as it was heard of, and stays reachable when the kernel forgets it', async () => {
    expect((await pvenat.run('check')).stderr).toContain('the neighbour table')
    expect(await ssh()).toBe('refused')
    await lab.ask('105', 'tcp', '10.10.10.1:9')
    await waitFor(async () => typeof (await ssh()) === 'object')
    await pvenat.service?.says(/mended\[guest-address\]/)
    const from = pvenat.service?.stdout.length ?? 0
    await lab.exec('pve', ['ip', 'neigh', 'flush', 'dev', 'vmbr1'], { check: false })
    await pvenat.configure('interval = 1\nguest-ports = 1-60000')
    pvenat.service?.signal('SIGHUP')
    expect(await ssh()).toMatchObject({ server: '105', port: 22 })
    expect(pvenat.service?.stdout.slice(from)).toBe('')
  })

  test('is followed when its lease tells another address', async () => {
    await lab.ip('105', [
      'addr del 10.10.10.105/24 dev eth0',
      'addr add 10.10.10.155/24 dev eth0',
      'route replace default via 10.10.10.1',
    ])
    await lab.serve('105', 'tcp', 22)
    const lease = `0 ${mac.toLowerCase()} 10.10.10.155 plain *\n`
    await lab.exec('pve', ['mkdir', '-p', '/var/lib/misc'])
    await lab.exec('pve', ['tee', '/var/lib/misc/dnsmasq.leases'], { input: lease })
    await waitFor(async () => typeof (await ssh()) === 'object')
    expect((await lab.exec('pve', [`iptables-${backend}-save`])).stdout).toContain('10.10.10.155:22')
  })
})
