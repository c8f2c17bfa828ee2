// IPv6 as IPv4: forwards, masquerade, zone, hairpin, the guest itself, node access, sets; and router advertisements survive.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  copyTree,
  createLab,
  loadPveFirewall,
  node1Tree,
  Pvenat,
  removeTree,
  saveInPlace,
  snapshot,
  type Lab,
} from '../lab/index.ts'

describe.each(backends)('IPv6 with pvenat run on %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  let before: string
  const wan = '2001:db8:113::2'

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
    for (const [vmid, kind] of [
      [105, 'lxc'],
      [108, 'lxc'],
      [107, 'qemu-server'],
    ] as const) {
      const file = `nodes/pve1/${kind}/${vmid}.conf`
      const address = `10.10.10.${vmid}/24`
      const config = (await lab.exec('pve', ['cat', `${tree}/${file}`])).stdout
      await saveInPlace(tree, file, config.replace(`ip=${address}`, `ip=${address},ip6=fd10::${vmid}/64`))
    }
    const cluster = (await lab.exec('pve', ['cat', `${tree}/firewall/cluster.fw`])).stdout
    await saveInPlace(
      tree,
      'firewall/cluster.fw',
      cluster
        .replace('[ALIASES]', '[ALIASES]\n\nlan6 fd10::/64')
        .replace('203.0.113.1\n', '203.0.113.1\n2001:db8:51::/64\n!2001:db8:51::9\n')
        .replace(
          '[RULES]\n',
          '[RULES]\n\nOUT ACCEPT -source dc/lan6 # NAT\nIN ACCEPT -source +dc/trusted -dest fd10::105 -p tcp -dport 22 # NAT 2222\n',
        ),
    )
    await loadPveFirewall(lab, backend, node1Tree)
    before = await snapshot(lab)
    await Promise.all([
      lab.serve('inet', 'tcp', 443),
      lab.serve('107', 'tcp', 22),
      lab.serve('108', 'tcp', 80),
      lab.serve('108', 'udp', 5003),
      lab.serve('105', 'tcp', 22),
      lab.serve('200', 'tcp', 8080),
    ])
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  test('forwards keep the client’s address', async () => {
    const client = { from: '2001:db8:51::7' }
    expect(await lab.ask('inet', 'tcp', `[${wan}]:8080`, client)).toMatchObject({
      server: '108',
      port: 80,
      seenAs: client.from,
    })
    expect(await lab.ask('inet', 'udp', `[${wan}]:15003`, client)).toMatchObject({
      server: '108',
      port: 5003,
      seenAs: client.from,
    })
    expect(await lab.ask('inet', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108' })
  })

  test('a set with nomatch restricts both families', async () => {
    expect(await lab.ask('inet', 'tcp', `[${wan}]:2222`, { from: '2001:db8:51::7' })).toMatchObject({
      server: '105',
    })
    expect(
      typeof (await lab.ask('inet', 'tcp', `[${wan}]:2222`, { from: '2001:db8:2::9', timeoutMs: 300 })),
    ).toBe('string')
  })

  test('guests go out as the node, with and without firewall; bridged guests as themselves', async () => {
    for (const guest of ['105', '107', '108']) {
      expect(await lab.ask(guest, 'tcp', '[2001:db8:2::9]:443')).toMatchObject({
        server: 'inet',
        seenAs: wan,
      })
    }
    expect(await lab.ask('200', 'tcp', '[2001:db8:113::1]:443')).toMatchObject({ seenAs: '2001:db8:113::50' })
    expect(await lab.ask('inet', 'tcp', '[2001:db8:113::50]:8080')).toMatchObject({ server: '200' })
  })

  test('hairpin from other guests, the node and the guest itself', async () => {
    expect(await lab.ask('105', 'tcp', `[${wan}]:8080`)).toMatchObject({ server: '108', seenAs: 'fd10::1' })
    expect(await lab.ask('107', 'tcp', `[${wan}]:8080`)).toMatchObject({ server: '108' })
    expect(await lab.ask('pve', 'tcp', `[${wan}]:8080`)).toMatchObject({ server: '108' })
    expect(await lab.ask('108', 'tcp', `[${wan}]:8080`)).toMatchObject({ server: '108', seenAs: 'fd10::1' })
    expect(await lab.ask('105', 'tcp', `[${wan}]:1022`)).toMatchObject({ server: '105', seenAs: 'fd10::1' })
  })

  test('forwarding is on, and the external interface still listens to router advertisements', async () => {
    expect(await lab.sysctl('pve', 'net/ipv6/conf/all/forwarding')).toBe('1')
    expect(await lab.sysctl('pve', 'net/ipv6/conf/vmbr0/accept_ra')).toBe('2')
  })

  test('rollback leaves no trace', async () => {
    expect(await pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(lab)).toBe(before)
  })
})
