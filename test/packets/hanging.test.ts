// A /etc/pve that does not answer, wholly or in part: the kernel is guarded as before, and nobody waits for it.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Row } from '../../src/show/list.ts'
import type { Status } from '../../src/show/status.ts'
import { backends, fwFile, HangingFolder, now, Pvenat, saveInPlace, standIn, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

const FW = 'firewall/105.fw'

/** Everything, one guest's file, what a stat needs, reads alone. */
const HANGS = {
  'nothing answers': { hang: '' },
  'no stat answers': { hang: '', ops: ['getattr', 'lookup'] },
  'no read answers': { hang: '', ops: ['open', 'read'] },
}

describe.each(backends)('/etc/pve hangs, %s', (backend) => {
  const node = testNode(backend, { serve: ['105:22/tcp', '108:80/tcp'] })
  let pve: HangingFolder
  let pvenat: Pvenat

  const shop = () => node.ask(8080, { timeoutMs: 200 })
  const isRepaired = async () => typeof (await shop()) === 'object'
  const flush = () => node.sh(`iptables-${backend} -w -t nat -F PVENAT-DNAT`)
  const degraded = async () => (await node.published<Status>()).degraded
  const timed = async <T>(promise: Promise<T>): Promise<[T, number]> => {
    const start = now()
    return [await promise, now() - start]
  }
  const measured: { promisedMs: number; ms: number }[] = []
  /** Judged after the test: to ask how slow the machine is takes a /etc/pve that answers. */
  const within = async (promisedMs: number, act: () => Promise<unknown>) => {
    const [, ms] = await timed(act())
    measured.push({ promisedMs, ms })
  }
  const saveHere = (rule: string) => pve.save(FW, fwFile(rule))
  const start = async () => {
    pvenat.launch()
    await node.hears()
    await waitFor(async () => (await degraded()) === null)
  }

  beforeAll(async () => {
    pve = await HangingFolder.mount(node.lab, 'pve', node.tree)
    pvenat = new Pvenat(node.lab, backend, pve.dir)
    await pvenat.start({}, 10_000)
    node.pvenat = pvenat
    await node.opens(8080)
  })
  afterEach(async () => {
    await pve.order({})
    await waitFor(async () => (await degraded()) === null, {
      timeoutMs: 15_000,
      what: 'the end of the trouble',
    })
    for (const { promisedMs, ms } of measured.splice(0))
      expect(ms).toBeLessThan(await node.fair(promisedMs, ms))
  })
  afterAll(async () => {
    await pvenat.service?.stop()
    await pve.unmount()
  })

  test.each(Object.entries(HANGS))(
    '%s: repair, status and list go on, and edits when it is over',
    async (_, orders) => {
      await pve.order(orders)
      await flush()
      await within(1000, () => waitFor(isRepaired, { what: 'the repair' }))
      await waitFor(async () => /does not answer/.test(String(await degraded())), {
        timeoutMs: 10_000,
        what: 'the trouble to be told',
      })
      await flush()
      await within(1000, () => waitFor(isRepaired, { what: 'the repair' }))
      const [status, statusMs] = await timed(pvenat.run('status', '--json'))
      expect(statusMs).toBeLessThan(await node.fair(1000, statusMs))
      expect((JSON.parse(status.stdout) as Status).degraded).toMatch(/does not answer/)
      const [list, listMs] = await timed(pvenat.run('list', '--json'))
      expect(listMs).toBeLessThan(await node.fair(1000, listMs))
      expect((JSON.parse(list.stdout) as Row[]).length).toBeGreaterThan(5)
      const [check, checkMs] = await timed(pvenat.run('check'))
      expect(checkMs).toBeLessThan(await node.fair(5000, checkMs))
      expect(check).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/does not answer/) as string })
      await pve.order({})
      await saveHere('IN SSH(ACCEPT) # NAT 5022')
      await within(1000, () => node.opens(5022))
      await saveHere('IN SSH(ACCEPT) # NAT 1022')
      await node.opens(1022)
    },
  )

  test('one file does not answer: its guest keeps its rules, and edits of others count', async () => {
    await pve.order({ hang: '^firewall/108.fw$' })
    await saveHere('IN SSH(ACCEPT) # NAT 5022')
    await within(1000, () => node.opens(5022))
    await waitFor(async () => /108\.fw: it does not answer/.test(String(await degraded())))
    expect(await isRepaired()).toBe(true)
    await flush()
    await within(1000, () => waitFor(isRepaired, { what: 'the repair' }))
    await saveInPlace(node.tree, 'firewall/108.fw', fwFile('IN HTTP(ACCEPT) # NAT 8081'))
    await pve.order({})
    await within(1500, () => node.opens(8081))
    await saveInPlace(node.tree, 'firewall/108.fw', fwFile('IN HTTP(ACCEPT) # NAT 8080'))
    await saveHere('IN SSH(ACCEPT) # NAT 1022')
    await node.opens(8080)
  })

  test('an edit through another node, of which no event tells, is in force within 1.5 s', async () => {
    await saveInPlace(node.tree, FW, fwFile('IN SSH(ACCEPT) # NAT 5022'))
    await within(1500, () => node.opens(5022))
    await saveInPlace(node.tree, FW, fwFile('IN SSH(ACCEPT) # NAT 1022'))
    await node.opens(1022)
  })

  test('SIGTERM ends the service within a second', async () => {
    await pve.order({ hang: '' })
    await waitFor(async () => /does not answer/.test(String(await degraded())), { timeoutMs: 10_000 })
    const service = pvenat.service
    const [ended, ms] = await timed(service?.stop() ?? Promise.reject(new Error('no service')))
    expect(ended.exitCode).toBe(0)
    expect(ms).toBeLessThan(await node.fair(1000, ms))
    await pve.order({})
    await start()
  })

  test('killed, flushed and started while nothing answers: NAT is back, and guarded', async () => {
    await pvenat.service?.stop('SIGKILL')
    await pve.order({ hang: '' })
    await flush()
    await node.sh(`ip6tables-${backend} -w -t nat -F; echo 0 > /proc/sys/net/ipv4/ip_forward`)
    expect(await isRepaired()).toBe(false)
    const service = pvenat.launch()
    await service.says(/in force: the saved ruleset/, 10_000)
    expect(await isRepaired()).toBe(true)
    await node.hears()
    await waitFor(async () => /does not answer/.test(String(await degraded())), { timeoutMs: 10_000 })
    await flush()
    await within(1000, () => waitFor(isRepaired, { what: 'the repair' }))
  })

  test('without quorum everything goes on, and it is told', async () => {
    await pve.order({ readOnly: true })
    await waitFor(async () => /^no quorum/.test(String(await degraded())), { what: 'the loss to be told' })
    expect((await node.published<Status>()).inStep).toBe(true)
    expect(pvenat.service?.stdout).toMatch(/^no quorum: /m)
    await pve.order({})
    await pvenat.service?.says(/^over: no quorum/m)
  })

  test('a command reads many files that take 100 ms each', async () => {
    const list = await node.text('.vmlist')
    const { version, ids } = JSON.parse(list) as { version: number; ids: object }
    const more = Array.from({ length: 60 }, (_, i) => 300 + i)
    for (const vmid of more) await saveInPlace(node.tree, `nodes/pve1/lxc/${vmid}.conf`, 'arch: amd64\n')
    const guests = Object.fromEntries(more.map((vmid) => [vmid, { node: 'pve1', type: 'lxc', version: 1 }]))
    await saveInPlace(node.tree, '.vmlist', JSON.stringify({ version, ids: { ...ids, ...guests } }))
    await pve.order({ slowMs: 100, ops: ['open'] })
    const { stdout, stderr } = await pvenat.run('check')
    expect(stdout + stderr).not.toContain('does not answer')
    expect(stdout).toMatch(/NAT rules looked at/)
    await pve.order({})
    await saveInPlace(node.tree, '.vmlist', list)
  })

  test('a .vmlist without guests is an empty list', async () => {
    const list = await node.text('.vmlist')
    await saveInPlace(node.tree, '.vmlist', '{"version": 13}')
    await waitFor(async () => !(await isRepaired()), { what: 'the last forward to go' })
    expect(await degraded()).toBe(null)
    await saveInPlace(node.tree, '.vmlist', list)
    await node.opens(8080)
  })
})

describe('a run folder that cannot be written', () => {
  const node = testNode('legacy', { serve: ['108:80/tcp'] })

  test.each([
    ['read-only', 'mount -t tmpfs -o ro tmpfs /run/pvenat'],
    ['full', 'mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs /run/pvenat'],
  ])('%s: the service works all the same', async (_, mount) => {
    await node.sh(`mkdir -p /run/pvenat; ${mount}`)
    const service = node.pvenat.launch()
    await service.says(/cannot write into /)
    await node.opens(8080)
    await node.sh('iptables-legacy -w -t nat -F PVENAT-DNAT')
    await node.opens(8080)
    await service.stop()
    await node.pvenat.run('rollback')
    await node.sh('umount /run/pvenat || true')
  })

  test('systemd hears how it stands, and that the service is alive, however long the interval between turns is', async () => {
    await node.pvenat.configure('interval = 3600')
    const mend = await standIn(node.lab, '/usr/bin/systemd-notify', 'echo "$*" >> /run/notified')
    const env = { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '900000' }
    const service = node.pvenat.launch({ env })
    const heard = async () => (await node.sh('cat /run/notified || true')).split('\n')
    const isReady = (line: string) => /^--ready --status=.* WATCHDOG=1$/.test(line)
    await waitFor(async () => (await heard()).some(isReady), {
      timeoutMs: 15_000,
      what: 'the service to be ready',
    })
    const beats = async () => {
      const lines = await heard()
      return lines.slice(lines.findIndex(isReady)).filter((line) => line === 'WATCHDOG=1').length
    }
    await waitFor(async () => (await beats()) >= 3, { what: 'three heartbeats' })
    const hears = (status: RegExp) =>
      waitFor(async () => (await heard()).some((line) => status.test(line)), {
        timeoutMs: 15_000,
        what: `systemd to hear ${status}`,
      })
    await hears(/^--ready --status=OK WATCHDOG=1$/)
    await node.save(FW, 'IN SSH(ACCEPT) # NAT 8006')
    await hears(/^--status=WARNING: 1 of \d+ NAT rules does not work; 105\.fw:\d+: port 8006\/tcp belongs/)
    for (const name of ['cluster', '107', '108']) await node.save(`firewall/${name}.fw`)
    await hears(/^--status=CRITICAL: no NAT rule is in force; 1 of 1 NAT rules does not work; 105\.fw:/)
    await service.stop()
    await mend()
  })
})
