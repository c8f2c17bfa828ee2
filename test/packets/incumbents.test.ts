// Who has a port keeps it: against clones and restored backups, over restarts, until its rule goes.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, describe } from 'vitest'
import { backends, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('a port that two guests claim, %s', (backend) => {
  const claim = 'IN HTTP(ACCEPT) # NAT 3000'
  const node = testNode(backend, {
    rules: { 'firewall/108.fw': [claim] },
    serve: ['105:80/tcp', '107:80/tcp', '108:80/tcp'],
    pvenat: 'run',
  })

  const holder = async () => {
    const answer = await node.ask(3000)
    return typeof answer === 'string' ? answer : answer.server
  }
  const says = (text: RegExp) =>
    waitFor(() => text.test(node.pvenat.service?.stdout ?? ''), { what: String(text) })

  test('a newcomer with a lower VMID does not get it, and is told who has it', async () => {
    expect(await holder()).toBe('108')
    await node.save('firewall/105.fw', `${claim} copied`)
    await says(/105\.fw:7: error\[port-taken\]: external port 3000\/tcp is already forwarded by 108\.fw:7/)
    expect(await holder()).toBe('108')
  })

  test('not after a restart either, nor when the free text of the rule is edited', async () => {
    await node.pvenat.service?.stop()
    await node.save('firewall/108.fw', `${claim} the shop`)
    expect(await node.pvenat.run('apply')).toMatchObject({ exitCode: 1 })
    expect(await holder()).toBe('108')
    node.pvenat.launch()
    await says(/port-taken/)
    expect(await holder()).toBe('108')
  })

  test('when its rule is switched off the next one gets it at once, and keeps it', async () => {
    await node.save('firewall/108.fw', `|${claim}`)
    await waitFor(async () => (await holder()) === '105')
    await node.save('firewall/108.fw', claim)
    await says(/108\.fw:7: error\[port-taken\]/)
    expect(await holder()).toBe('105')
    await rm(join(node.tree, 'firewall/105.fw'))
    await waitFor(async () => (await holder()) === '108')
  })
})
