// A guest by DHCP: nothing but the kernel's neighbour table, or a lease, tells its address.
import { describe, expect, test } from 'vitest'
import { backends } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('a guest by DHCP on %s', (backend) => {
  const node = testNode(backend, {
    settings: 'interval = 1',
    serve: ['105:22/tcp'],
    prepare: async ({ lab }) => {
      mac = (await lab.exec('105', ['cat', '/sys/class/net/eth0/address'])).stdout.trim().toUpperCase()
      await node.edit('nodes/pve1/lxc/105.conf', (text) =>
        text.replace(/ip=[^,]*/, 'ip=dhcp').replace(/hwaddr=[^,]*/, `hwaddr=${mac}`),
      )
      await lab.exec('pve', ['ip', 'neigh', 'flush', 'all'], { check: false })
    },
    pvenat: 'run',
  })
  let mac: string

  const ssh = () => node.ask(1022)

  test('is reached as soon as it was heard of, and stays reachable when the kernel forgets it', async () => {
    expect((await node.pvenat.run('check')).stderr).toContain('the neighbour table')
    expect(await ssh()).toBe('refused')
    await node.lab.ask('105', 'tcp', '10.10.10.1:9')
    await node.opens(1022)
    await node.pvenat.service?.says(/mended\[guest-address\]/)
    const from = node.pvenat.service?.stdout.length ?? 0
    await node.lab.exec('pve', ['ip', 'neigh', 'flush', 'dev', 'vmbr1'], { check: false })
    await node.pvenat.configure('interval = 1\nguest-ports = 1-60000')
    node.pvenat.service?.signal('SIGHUP')
    expect(await ssh()).toMatchObject({ server: '105', port: 22 })
    expect(node.pvenat.service?.stdout.slice(from)).toBe('')
  })

  test('is followed when its lease tells another address', async () => {
    await node.lab.ip('105', [
      'addr del 10.10.10.105/24 dev eth0',
      'addr add 10.10.10.155/24 dev eth0',
      'route replace default via 10.10.10.1',
    ])
    await node.lab.serve('105', 'tcp', 22)
    const lease = `0 ${mac.toLowerCase()} 10.10.10.155 plain *`
    await node.sh(`mkdir -p /var/lib/misc; echo '${lease}' > /var/lib/misc/dnsmasq.leases`)
    await node.opens(1022)
    expect(await node.sh(`iptables-${backend}-save`)).toContain('10.10.10.155:22')
  })
})
