// Who has a port keeps it: against clones and restored backups, over restarts, until its rule goes.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, describe } from 'vitest'
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

describe.each(backends)('a port that two guests claim, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  const file = (...rules: string[]) => `[OPTIONS]\nenable: 1\n[RULES]\n${rules.join('\n')}\n`
  const claim = 'IN HTTP(ACCEPT) # NAT 3000'

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
    await Promise.all(['105', '107', '108'].map((guest) => lab.serve(guest, 'tcp', 80)))
    await saveLikeGui(tree, 'firewall/108.fw', file(claim))
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const holder = async () => {
    const answer = await lab.ask('inet', 'tcp', '203.0.113.2:3000', { timeoutMs: 100 })
    return typeof answer === 'string' ? answer : answer.server
  }
  const says = (text: RegExp) =>
    waitFor(() => text.test(pvenat.service?.stdout ?? ''), { what: String(text) })

  test('a newcomer with a lower VMID does not get it, and is told who has it', async () => {
    expect(await holder()).toBe('108')
    await saveLikeGui(tree, 'firewall/105.fw', file(`${claim} copied`))
    await says(/105\.fw:4: error\[port-taken\]: external port 3000\/tcp is already forwarded by 108\.fw:4/)
    expect(await holder()).toBe('108')
  })

  test('not after a restart either, nor when the free text of the rule is edited', async () => {
    await pvenat.service?.stop()
    await saveLikeGui(tree, 'firewall/108.fw', file(`${claim} the shop`))
    expect(await pvenat.run('apply')).toMatchObject({ exitCode: 1 })
    expect(await holder()).toBe('108')
    pvenat.service = lab.spawn('pve', pvenat.argv('run'))
    await says(/port-taken/)
    expect(await holder()).toBe('108')
  })

  test('when its rule is switched off the next one gets it at once, and keeps it', async () => {
    await saveLikeGui(tree, 'firewall/108.fw', file(`|${claim}`))
    await waitFor(async () => (await holder()) === '105')
    await saveLikeGui(tree, 'firewall/108.fw', file(claim))
    await says(/108\.fw:4: error\[port-taken\]/)
    expect(await holder()).toBe('105')
    await rm(join(tree, 'firewall/105.fw'))
    await waitFor(async () => (await holder()) === '108')
  })
})
