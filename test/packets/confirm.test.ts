// A change from afar: in force at once, taken back unless it is confirmed in time.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  copyTree,
  createLab,
  node1Tree,
  Pvenat,
  removeTree,
  saveLikeGui,
  snapshot,
  waitFor,
  type Lab,
} from '../lab/index.ts'

describe.each(backends)('apply --confirm, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  let before: string

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
    await lab.serve('105', 'tcp', 22, 80)
    before = await snapshot(lab)
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const opens = (port: number) =>
    waitFor(
      async () =>
        typeof (await lab.ask('inet', 'tcp', `203.0.113.2:${port}`, { timeoutMs: 100 })) === 'object',
    )
  const answers = async (port: number) =>
    typeof (await lab.ask('inet', 'tcp', `203.0.113.2:${port}`, { timeoutMs: 200 })) === 'object'
  const start = (seconds: string) => lab.spawn('pve', [...pvenat.argv('apply'), '--confirm', seconds])

  test('the very first one leaves no trace when it is not confirmed', async () => {
    const apply = start('1')
    await opens(1022)
    expect(await apply.ended).toMatchObject({ exitCode: 1 })
    expect(apply.stderr).toContain('not confirmed')
    expect(await snapshot(lab)).toBe(before)
  })

  test('confirmed it stays; the next one goes back to it', async () => {
    const first = start('30')
    await first.says(/pvenat confirm/)
    expect(await pvenat.run('confirm')).toMatchObject({ exitCode: 0 })
    expect(await first.ended).toMatchObject({ exitCode: 0 })
    expect(await answers(1022)).toBe(true)
    await saveLikeGui(tree, 'firewall/105.fw', '[OPTIONS]\nenable: 1\n[RULES]\nIN HTTP(ACCEPT) # NAT 3000\n')
    const second = start('1')
    await opens(3000)
    // As when the ssh session dies of the change.
    second.signal('SIGHUP')
    expect(await answers(1022)).toBe(false)
    expect(await second.ended).toMatchObject({ exitCode: 1 })
    expect(await answers(1022)).toBe(true)
    expect(await answers(3000)).toBe(false)
  })

  test('it refuses beside the service, which applies everything by itself', async () => {
    const service = await pvenat.start()
    expect(await pvenat.run('apply', '--confirm', '5')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('stop it first') as string,
    })
    await service.stop()
  })
})
