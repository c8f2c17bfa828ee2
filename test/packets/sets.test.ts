// An ipset of Proxmox VE as an own kernel set: members change without a rule being touched, and the set goes with its last rule.
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

describe.each(backends)('an ipset as a source, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  let cluster: string

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    cluster = await readFile(join(tree, 'firewall/cluster.fw'), 'utf8')
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
    await lab.serve('105', 'tcp', 22)
    await saveLikeGui(
      tree,
      'firewall/105.fw',
      rules('IN ACCEPT -source +dc/trusted -p tcp -dport 22 # NAT 2200'),
    )
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const rules = (...lines: string[]) => `[OPTIONS]\nenable: 1\n[RULES]\n${lines.join('\n')}\n`
  const opens = async (from: string) =>
    typeof (await lab.ask('inet', 'tcp', '203.0.113.2:2200', { from, timeoutMs: 200 })) === 'object'
  const nat = async () => (await lab.exec('pve', [`iptables-${backend}-save`, '-c', '-t', 'nat'])).stdout
  const sets = async () => (await lab.exec('pve', ['ipset', 'list', '-n'])).stdout

  test('a member that comes or goes counts at once, and no rule is written', async () => {
    expect(await opens('198.51.100.7')).toBe(true)
    expect(await opens('192.0.2.9')).toBe(false)
    const counted = /\[[1-9]\d*:\d+\] -A PVENAT-DNAT [^\n]*--dport 2200/
    expect(await nat()).toMatch(counted)
    await saveLikeGui(tree, 'firewall/cluster.fw', cluster.replace('198.51.100.7\n', '192.0.2.9\n'))
    await waitFor(() => opens('192.0.2.9'))
    expect(await opens('198.51.100.7')).toBe(false)
    // A chain that is written anew counts from nothing; one packet came since.
    const [, packets = '0'] = /\[(\d+):\d+\] -A PVENAT-DNAT [^\n]*--dport 2200/.exec(await nat()) ?? []
    expect(Number(packets)).toBeGreaterThan(1)
  })

  test('nobody’s set is no set', async () => {
    expect(await sets()).toMatch(/^pvenat-0-/m)
    await saveLikeGui(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 1022'))
    await waitFor(async () => !/^pvenat-0-/m.test(await sets()))
  })
})
