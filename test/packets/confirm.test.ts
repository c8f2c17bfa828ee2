// A change from afar: in force at once, taken back unless it is confirmed in time.
import { describe, expect, test } from 'vitest'
import { backends, snapshot, standIn, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('apply --confirm, %s', (backend) => {
  const node = testNode(backend, { serve: ['105:22,80/tcp'] })

  const answers = async (port: number) => typeof (await node.ask(port)) === 'object'
  const start = (seconds: string) =>
    node.lab.spawn('pve', [...node.pvenat.argv('apply'), '--confirm', seconds])
  /** In a terminal, in which `type` types. */
  const inTerminal = (seconds: string) => {
    const words = [...node.pvenat.argv('apply'), '--confirm', seconds].join(' ')
    const script = `rm -f /run/typed; mkfifo /run/typed; exec script -qefc '${words}' /dev/null <>/run/typed`
    return node.lab.spawn('pve', ['sh', '-ec', script])
  }
  const type = (line: string) => node.sh(`echo '${line}' >/run/typed`)
  const state = () => node.sh('cat /var/lib/pvenat/state.json 2>/dev/null || echo none')
  const isTakenBack = async () => {
    expect(await snapshot(node.lab)).toBe(node.untouched)
    expect(await state()).toBe('none')
    expect(await node.sh('ls -A /run/pvenat')).toBe('')
  }

  test('the very first change leaves no trace when it is not confirmed', async () => {
    const apply = start('1')
    await node.opens(1022)
    expect(await apply.ended).toMatchObject({ exitCode: 1 })
    expect(apply.stderr).toContain('no answer; what was in force before is in force again')
    await isTakenBack()
  })

  test('confirm with nothing waiting confirms nothing', async () => {
    const nothing = { exitCode: 1, stderr: 'pvenat: no change waits for a confirmation' }
    expect(await node.pvenat.run('confirm')).toMatchObject(nothing)
    await node.sh('mkdir -p /run/pvenat; echo 1 > /run/pvenat/unconfirmed')
    expect(await node.pvenat.run('confirm')).toMatchObject(nothing)
    await node.sh('rm /run/pvenat/unconfirmed')
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s takes it back at once, with its claims', async (signal) => {
    const apply = start('60')
    await apply.says(/pvenat confirm/)
    expect(await answers(1022)).toBe(true)
    expect(await state()).toContain('1022')
    apply.signal(signal)
    expect(await apply.ended).toMatchObject({ exitCode: 1 })
    expect(apply.stderr).toContain('stopped; what was in force before is in force again')
    await isTakenBack()
    expect(await answers(1022)).toBe(false)
  })

  test('asks where it was typed, with a countdown, and takes yes and no', async () => {
    const declined = inTerminal('60')
    await declined.says(/taken back in 60 s: .*taken back in 5\d s: /s)
    expect(await answers(1022)).toBe(true)
    await type('perhaps')
    await type('no')
    expect(await declined.ended).toMatchObject({ exitCode: 1 })
    expect(declined.stdout).toContain('not wanted; what was in force before is in force again')
    await isTakenBack()
    const kept = inTerminal('60')
    await kept.says(/taken back in 60 s: /)
    await type('y')
    expect(await kept.ended).toMatchObject({ exitCode: 0 })
    expect(await answers(1022)).toBe(true)
    await node.pvenat.run('rollback')
    await node.sh('mkdir -p /run/pvenat')
    await isTakenBack()
  })

  test('a terminal that is gone takes nothing with it', async () => {
    const apply = inTerminal('3')
    await apply.says(/taken back in 3 s: /)
    expect(await answers(1022)).toBe(true)
    await apply.stop('SIGKILL')
    await waitFor(async () => !(await answers(1022)), { what: 'the change to be taken back' })
    await waitFor(async () => (await state()) === 'none', { what: 'its claims to be taken back' })
    await isTakenBack()
  })

  test('an apply that fails half-way is taken back', async () => {
    // The first write is made, and then fails.
    const mend = await standIn(
      node.lab,
      (await node.sh('readlink -f $(command -v flock)')).trim(),
      `[ -e /run/failed ] && exec $real "$@"
      touch /run/failed; $real "$@"; echo "line 1 failed" >&2; exit 1`,
    )
    try {
      const apply = start('60')
      expect(await apply.ended).toMatchObject({ exitCode: 1 })
      expect(apply.stderr).toContain('the change failed')
    } finally {
      await mend()
    }
    await node.sh('rm /run/failed')
    await isTakenBack()
  })

  test('confirmed it stays; the next one goes back to it, also in the state', async () => {
    const first = start('30')
    await first.says(/pvenat confirm/)
    expect(await node.pvenat.run('apply', '--confirm', '5')).toMatchObject({
      exitCode: 1,
      stderr: 'pvenat: another apply --confirm waits for its answer',
    })
    expect(await node.pvenat.run('confirm')).toMatchObject({ exitCode: 0, stdout: 'confirmed' })
    expect(await first.ended).toMatchObject({ exitCode: 0 })
    expect(await answers(1022)).toBe(true)
    const before = await state()
    await node.save('firewall/105.fw', 'IN HTTP(ACCEPT) # NAT 3000')
    const second = start('1')
    await node.opens(3000)
    // As when the ssh session dies of the change.
    second.signal('SIGHUP')
    expect(await answers(1022)).toBe(false)
    expect(await second.ended).toMatchObject({ exitCode: 1 })
    expect(await answers(1022)).toBe(true)
    expect(await answers(3000)).toBe(false)
    expect(await state()).toBe(before)
  })

  test('who decides first has decided, even if the other hears of it late', async () => {
    await node.save('firewall/105.fw', 'IN HTTP(ACCEPT) # NAT 3002')
    const apply = start('1')
    await apply.says(/pvenat confirm/)
    apply.signal('SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, 1200))
    expect(await node.pvenat.run('confirm')).toMatchObject({ exitCode: 0, stdout: 'confirmed' })
    apply.signal('SIGCONT')
    expect(await apply.ended).toMatchObject({ exitCode: 0 })
    expect(await answers(3002)).toBe(true)
    expect(await node.pvenat.run('confirm')).toMatchObject({ exitCode: 1 })
  })

  test('rollback ends the one that waits, which would put everything back', async () => {
    const apply = start('60')
    await apply.says(/pvenat confirm/)
    const { stdout } = await node.pvenat.run('rollback')
    expect(stdout).toContain('ended the apply --confirm that waits for its answer')
    await apply.ended
    await node.sh('mkdir -p /run/pvenat')
    await isTakenBack()
  })

  test('it refuses beside the service, which applies everything by itself', async () => {
    const service = await node.pvenat.start()
    expect(await node.pvenat.run('apply', '--confirm', '5')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('stop it first') as string,
    })
    await service.stop()
  })

  test('the service that starts afterwards goes on with it, and puts nothing older back', async () => {
    await node.save('firewall/105.fw', 'IN HTTP(ACCEPT) # NAT 3001')
    const change = start('30')
    await change.says(/pvenat confirm/)
    expect(await node.pvenat.run('confirm')).toMatchObject({ exitCode: 0 })
    expect(await change.ended).toMatchObject({ exitCode: 0 })
    await node.sh('rm /run/pvenat/status.json')
    const service = node.pvenat.launch()
    await node.publishes({ inStep: true })
    expect(await answers(3001)).toBe(true)
    await service.stop()
    expect(service.stdout).not.toContain('the saved ruleset')
  })
})
