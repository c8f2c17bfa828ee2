/** Docker's policy of FORWARD: nothing of ours stops for it, and nothing else passes because of us. */
import { beforeAll, describe, expect, test } from 'vitest'
import { dockerDown, dockerUp, node1Plan, snapshot, tamper, type Backend } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'

const CLUSTER = `[OPTIONS]

enable: 1

[ALIASES]

office 198.51.100.0/24

[group webserver]

IN HTTP(ACCEPT) # NAT 8080

[RULES]

OUT ACCEPT -source 10.20.20.0/24 # NAT
`

export function dockerSuite(backend: Backend): void {
  describe.each([true, false])(`beside Docker on ${backend}, pve-firewall's rules loaded: %s`, (firewall) => {
    // 105, 107 and the network of 110 go out, 108 may not: what it sends is only routed.
    const node = testNode(backend, {
      lab: { bridges: [...node1Plan.bridges, { name: 'vmbr2', addresses: ['10.20.20.1/24'] }] },
      firewall,
      rules: {
        'firewall/105.fw': [
          'IN SSH(ACCEPT) # NAT 1022',
          'IN ACCEPT -p udp -dport 7000 # NAT 17000',
          'OUT ACCEPT # NAT',
        ],
      },
      edits: {
        'firewall/107.fw': (text) => `${text.trimEnd()}\nOUT ACCEPT # NAT\n`,
        'firewall/cluster.fw': () => CLUSTER,
      },
      serve: ['inet:443,444/tcp', '105:22,80/tcp', '105:7000/udp', '107:22,3306/tcp', '108:80/tcp'],
      prepare: async ({ lab }) => {
        await lab.addGuest('pve', {
          vmid: 110,
          kind: 'lxc',
          firewall: false,
          bridge: 'vmbr2',
          mac: 'BC:24:11:00:01:10',
          address: '10.20.20.110/24',
          gateway: '10.20.20.1',
        })
        await lab.ip('inet', ['route add 10.10.10.0/24 via 203.0.113.2'])
        // Somebody's ban, and a rule of pve-firewall against what 107 sends.
        await tamper(lab, backend, '$T4 -A FORWARD -s 192.0.2.9 -j DROP')
        if (firewall) await tamper(lab, backend, '$T4 -I tap107i0-OUT 1 -p tcp --dport 444 -j DROP')
      },
      pvenat: 'run',
    })
    let own: string

    beforeAll(async () => {
      await node.converged()
      own = (await node.parts()).own
      expect(await ask('inet', '10.10.10.105:80')).toMatchObject({ server: '105' })
      expect(await ask('108', '203.0.113.1:443')).toMatchObject({ server: 'inet', seenAs: '10.10.10.108' })
      await tamper(node.lab, backend, dockerUp)
      await node.converged()
    })

    const ask = (from: string, to: string, as?: string) =>
      node.call(from, to, { timeoutMs: 300, ...(as === undefined ? {} : { from: as }) })

    test.each([
      ['inet', '203.0.113.2:1022', '105'],
      ['inet', '203.0.113.2:8080', '108'],
      ['inet', '203.0.113.2:822', '107'],
      ['inet', '203.0.113.2:17000/udp', '105'],
      ['105', '203.0.113.1:443', 'inet'],
      ['107', '203.0.113.1:443', 'inet'],
      ['110', '203.0.113.1:443', 'inet'],
      ['110', '203.0.113.2:1022', '105'],
      ['105', '203.0.113.2:8080', '108'],
      ['107', '203.0.113.2:1022', '105'],
      ['107', '203.0.113.2:822', '107'],
      ['105', '203.0.113.2:1022', '105'],
      ['pve', '203.0.113.2:8080', '108'],
    ])('ours goes on: %s reaches %s at %s', async (from, to, server) => {
      expect(await ask(from, to)).toMatchObject({ server })
    })

    test('a stream through a forward lasts', async () => {
      const stream = await node.lab.stream('inet', '203.0.113.2:8080')
      for (let i = 0; i < 3; i++) expect(await stream.ping()).toBe(true)
      await stream.close()
    })

    test.each([
      ['a plain routed connection into the network', 'inet', '10.10.10.105:80'],
      ['the inner port of a forward, called without the forward', 'inet', '10.10.10.105:22'],
      ['a guest that has no egress', '108', '203.0.113.1:443'],
      ['a guest on its way into another network', '110', '10.10.10.105:80'],
      ['the same to the inner port of a forward', '110', '10.10.10.105:22'],
    ])('the policy still stops %s', async (_, from, to) => {
      expect(await ask(from, to)).toBe('nothing')
    })

    test('a DROP of somebody else for one host still stops it at a forward', async () => {
      expect(await ask('inet', '203.0.113.2:1022', '192.0.2.9')).toBe('nothing')
      expect(await ask('inet', '203.0.113.2:1022', '198.51.100.7')).toMatchObject({ server: '105' })
    })

    test('a new packet of a connection that is not ours gets no pass for being established', async () => {
      if (firewall) return // pve-firewall itself accepts established connections
      await tamper(node.lab, backend, '$T4 -P FORWARD ACCEPT')
      const stream = await node.lab.stream('inet', '10.10.10.105:80')
      expect(await stream.ping()).toBe(true)
      await tamper(node.lab, backend, '$T4 -P FORWARD DROP')
      await node.converged()
      expect(await stream.ping(400)).toBe(false)
      await stream.close()
    })

    test('what pve-firewall drops stays dropped', async () => {
      if (!firewall) return
      expect(await ask('107', '203.0.113.1:444')).toBe('nothing')
      expect(await ask('105', '10.10.10.107:3306')).toBe('nothing')
      expect(await ask('inet', '203.0.113.2:13306', '192.0.2.9')).toBe('nothing')
    })

    test('when Docker goes, everything is as it was', async () => {
      await tamper(node.lab, backend, dockerDown)
      await node.repaired(own)
      expect(await ask('inet', '10.10.10.105:80')).toMatchObject({ server: '105' })
      expect(await ask('inet', '203.0.113.2:8080')).toMatchObject({ server: '108' })
    })

    test('started beside Docker, all is in force at once; rollback leaves no trace', async () => {
      await node.pvenat.run('rollback')
      await tamper(node.lab, backend, dockerUp)
      const before = await snapshot(node.lab)
      await node.pvenat.start()
      expect(await ask('inet', '203.0.113.2:822')).toMatchObject({ server: '107' })
      expect(await ask('107', '203.0.113.1:443')).toMatchObject({ server: 'inet' })
      expect(await ask('108', '203.0.113.1:443')).toBe('nothing')
      expect(await node.pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
      expect(await snapshot(node.lab)).toBe(before)
    })
  })
}
