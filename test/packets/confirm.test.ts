// A change from afar: in force at once, taken back unless it is confirmed in time.
import { describe, expect, test } from 'vitest'
import { backends, snapshot } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('apply --confirm, %s', (backend) => {
  const node = testNode(backend, { serve: ['105:22,80/tcp'] })

  const answers = async (port: number) => typeof (await node.ask(port)) === 'object'
  const start = (seconds: string) =>
    node.lab.spawn('pve', [...node.pvenat.argv('apply'), '--confirm', seconds])

  test('the very first one leaves no trace when it is not confirmed', async () => {
    const apply = start('1')
    await node.opens(1022)
    expect(await apply.ended).toMatchObject({ exitCode: 1 })
    expect(apply.stderr).toContain('not confirmed')
    expect(await snapshot(node.lab)).toBe(node.untouched)
  })

  test('confirmed it stays; the next one goes back to it', async () => {
    const first = start('30')
    await first.says(/pvenat confirm/)
    expect(await node.pvenat.run('confirm')).toMatchObject({ exitCode: 0 })
    expect(await first.ended).toMatchObject({ exitCode: 0 })
    expect(await answers(1022)).toBe(true)
    await node.save('firewall/105.fw', 'IN HTTP(ACCEPT) # NAT 3000')
    const second = start('1')
    await node.opens(3000)
    // As when the ssh session dies of the change.
    second.signal('SIGHUP')
    expect(await answers(1022)).toBe(false)
    expect(await second.ended).toMatchObject({ exitCode: 1 })
    expect(await answers(1022)).toBe(true)
    expect(await answers(3000)).toBe(false)
  })

  test('it refuses beside the service, which applies everything by itself', async () => {
    const service = await node.pvenat.start()
    expect(await node.pvenat.run('apply', '--confirm', '5')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('stop it first') as string,
    })
    await service.stop()
  })
})
