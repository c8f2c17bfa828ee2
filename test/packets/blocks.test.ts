// Hundreds of guests with a block of ports each: NAT auto, numbers and the ports that UDP leaves by, asked with packets.
import { describe, expect, test } from 'vitest'
import { backends, fwFile, saveLikeGui } from '../lab/index.ts'
import { blocksOf } from '../docs/commands.ts'
import { node1Plan } from '../lab/plan.ts'
import { testNode } from './node.ts'

/** The settings as docs/hosters.md has them. */
const settingsOfPage = (
  blocksOf('docs/hosters.md').find(({ language }) => language === 'ini')?.text ?? ''
).replace('[nat]\n', '')

const COUNT = 500
const FIRST = 1000
/** Guests of the tree only; 1077 has an address that guest 105 answers at. */
const VMIDS = Array.from({ length: COUNT }, (_, i) => FIRST + i)
const addressOf = (vmid: number) =>
  vmid === 1077 ? '10.10.10.77' : `10.30.${1 + ((vmid - FIRST) >> 8)}.${(vmid - FIRST) & 255}`
/** The first port of a guest's block, by the formula. */
const blockOf = (vmid: number) => 20000 + 20 * ((vmid - 100) % 2000)

/** The guests of the tree have a network of their own. */
const BRIDGES = node1Plan.bridges.map(({ name, addresses }) => ({
  name,
  addresses: name === 'vmbr1' ? [...addresses, '10.30.0.1/16'] : addresses,
}))

const hex = (number: number) => (number & 255).toString(16).padStart(2, '0').toUpperCase()

describe.each(backends)('blocks of ports, %s', (backend) => {
  const node = testNode(backend, {
    lab: { bridges: BRIDGES },
    edits: Object.fromEntries(
      ['105', '108'].map((vmid) => [
        `nodes/pve1/lxc/${vmid}.conf`,
        (text: string) =>
          text.replace(`ip=10.10.10.${vmid}/24`, `ip=10.10.10.${vmid}/24,ip6=fd10::${vmid}/64`),
      ]),
    ),
    settings: settingsOfPage,
    rules: {
      'firewall/cluster.fw': ['OUT ACCEPT -source 10.10.10.0/24 # NAT', 'OUT ACCEPT -source fd10::/64 # NAT'],
      'nodes/pve1/host.fw': [],
      'firewall/105.fw': [
        'IN ACCEPT -p tcp -dport 80 # NAT auto',
        'IN ACCEPT -p udp -dport 27015 # NAT auto game',
        'IN ACCEPT -p tcp -dport 22 # NAT 20119',
      ],
      'firewall/107.fw': [],
      'firewall/108.fw': [
        'IN ACCEPT -p udp -dport 5001:5010 # NAT auto',
        'IN ACCEPT -p tcp -dport 80 # NAT auto',
      ],
    },
    serve: ['105:22,80/tcp', '105:27015/udp', '108:80/tcp', '108:5001,5004,5010/udp', 'inet:53/udp'],
    prepare: async (made) => {
      const { tree, lab } = made
      const { version, ids } = JSON.parse(await made.text('.vmlist')) as {
        version: number
        ids: Record<string, object>
      }
      for (const vmid of VMIDS) {
        ids[vmid] = { node: 'pve1', type: 'lxc', version: 1 }
        const net = `name=eth0,bridge=vmbr1,gw=10.10.10.1,hwaddr=BC:24:11:99:${hex(vmid >> 8)}:${hex(vmid)},ip=${addressOf(vmid)}/16,type=veth`
        await saveLikeGui(tree, `nodes/pve1/lxc/${vmid}.conf`, `hostname: g${vmid}\nnet0: ${net}\n`)
        await saveLikeGui(tree, `firewall/${vmid}.fw`, fwFile('IN ACCEPT -p tcp -dport 80 # NAT auto'))
      }
      await saveLikeGui(tree, '.vmlist', JSON.stringify({ version, ids }))
      await lab.ip('105', ['addr add 10.10.10.77/24 dev eth0'])
    },
    pvenat: 'apply',
  })

  test('each guest has the port of its block, and list tells it as given', async () => {
    const rows = JSON.parse((await node.pvenat.run('list', '--json')).stdout) as {
      guest: { vmid: number } | null
      external: { ports: [number, number][] | null }
      state: string
      given: boolean
    }[]
    const own = new Map(
      rows.map(({ guest, external, state, given }) => [guest?.vmid, [external.ports, state, given]]),
    )
    for (const vmid of VMIDS) {
      const port = blockOf(vmid)
      expect.soft(own.get(vmid), `guest ${vmid}`).toEqual([[[port, port]], 'active', true])
    }
    expect(await node.ask(blockOf(1077))).toMatchObject({ server: '105', port: 80 })
  })

  test.each(['203.0.113.2', '[2001:db8:113::2]'])('auto and numbers at %s', async (at) => {
    const ask = (port: number, proto: string) => node.call('inet', `${at}:${port}/${proto}`)
    expect(await ask(20100, 'tcp')).toMatchObject({ server: '105', port: 80 })
    expect(await ask(20119, 'tcp')).toMatchObject({ server: '105', port: 22 })
    // 27015 mod 20 is 15.
    expect(await ask(20115, 'udp')).toMatchObject({ server: '105', port: 27015 })
    expect(await ask(20160, 'tcp')).toMatchObject({ server: '108', port: 80 })
    expect(await ask(20164, 'udp')).toMatchObject({ server: '108', port: 5004 })
  })

  test.each([
    ['203.0.113.2', '203.0.113.1:53'],
    ['2001:db8:113::2', '[2001:db8:113::1]:53'],
  ])('UDP leaves by its external port as %s', async (seenAs, to) => {
    const inner = [
      ['105', 27015, 20115],
      ['108', 5001, 20161],
      ['108', 5004, 20164],
      ['108', 5010, 20170],
    ] as const
    for (const [guest, port, seenPort] of inner) {
      await node.lab.unserve(guest, 'udp', port)
      const answer = await node.lab.ask(guest, 'udp', to, { fromPort: port })
      expect(answer).toMatchObject({ server: 'inet', seenAs, seenPort })
      await node.lab.serve(guest, 'udp', port)
    }
    // Many servers see the same port, and other ports of the guest leave as ever.
    await node.lab.unserve('105', 'udp', 27015)
    const other = to.replace('203.0.113.1', '198.51.100.7').replace('2001:db8:113::1', '2001:db8:51::7')
    expect(await node.lab.ask('105', 'udp', other, { fromPort: 27015 })).toMatchObject({
      seenAs,
      seenPort: 20115,
    })
    expect(await node.lab.ask('105', 'udp', to, { fromPort: 27016 })).toMatchObject({
      seenAs,
      seenPort: 27016,
    })
    await node.lab.serve('105', 'udp', 27015)
  })
})
