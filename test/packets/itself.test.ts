// A guest that calls itself by its external address: what its own web application does with its public name.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  copyTree,
  createLab,
  loadPveFirewall,
  node1Tree,
  Pvenat,
  removeTree,
  snapshot,
  waitFor,
  type Lab,
} from '../lab/index.ts'

describe.each(backends)('a guest that reaches itself, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  let before: string

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
    await loadPveFirewall(lab, backend, node1Tree)
    before = await snapshot(lab)
    await Promise.all([
      lab.serve('105', 'tcp', 22),
      lab.serve('107', 'tcp', 22),
      lab.serve('108', 'tcp', 80),
      lab.serve('108', 'udp', 5003),
    ])
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const rows = [
    ['105', 'tcp', '203.0.113.2:1022', 22, 'without firewall'],
    ['107', 'tcp', '203.0.113.2:822', 22, 'a VM with firewall'],
    ['108', 'tcp', '203.0.113.2:8080', 80, 'a container with firewall'],
    ['108', 'udp', '203.0.113.2:15003', 5003, 'a shifted range, UDP'],
  ] as const
  test.each(rows)('%s asks %s %s → itself :%i (%s)', async (guest, proto, endpoint, port) => {
    expect(await lab.ask(guest, proto, endpoint)).toMatchObject({ server: guest, port, seenAs: '10.10.10.1' })
  })

  test('a stream through the loop lives beside calls of other guests', async () => {
    const stream = await lab.stream('107', '203.0.113.2:822')
    expect(await stream.ping()).toBe(true)
    expect(await lab.ask('107', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108' })
    expect(await stream.ping()).toBe(true)
    await stream.close()
  })

  test('nothing goes round in the loop', async () => {
    expect(await lab.ask('105', 'tcp', '169.254.77.128:22', { timeoutMs: 200 })).toBe('nothing')
  })

  test('the interfaces go when nobody needs them, and with the rollback', async () => {
    const links = async () => (await lab.exec('pve', ['ip', '-br', 'link'])).stdout
    expect(await links()).toContain('pvenat0')
    await pvenat.configure('hairpin = others')
    pvenat.service?.signal('SIGHUP')
    await waitFor(async () => !(await links()).includes('pvenat0'))
    expect(await lab.ask('105', 'tcp', '203.0.113.2:8080')).toMatchObject({ server: '108' })
    await pvenat.configure()
    pvenat.service?.signal('SIGHUP')
    await waitFor(async () => (await links()).includes('pvenat0'))
    await pvenat.run('rollback')
    expect(await snapshot(lab)).toBe(before)
  })
})
