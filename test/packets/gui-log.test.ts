// The answer in the GUI, from a save to the line in the firewall log, with the file moved, missing and on a full disk.
import { beforeAll, describe, expect, test } from 'vitest'
import { guiLines, timeOf } from '../service/firewall-log.ts'
import { backends, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

/** What the product promises from a save to the line. */
const PROMISE_MS = 1000
const LOG = '/var/log/pve-firewall.log'
const GUEST = 'firewall/105.fw'

describe.each(backends)('the firewall log, %s', (backend) => {
  const node = testNode(backend, {
    settings: 'interval = 60',
    // A disk of its own, as small as one can be, with the file as logrotate makes it.
    prepare: (one) =>
      one.sh(
        `mount -t tmpfs -o size=64k tmpfs /var/log && touch ${LOG} && chown root:adm ${LOG} && chmod 640 ${LOG}`,
      ),
    pvenat: 'run',
  })
  const read = async (): Promise<string[]> =>
    guiLines(`${await node.sh(`cat ${LOG} 2>/dev/null || true`)}\n`, 105)

  /** Waits for the line that a save makes; how long it took. */
  async function answer(pattern: RegExp, ...rules: string[]): Promise<string> {
    const start = performance.now()
    await node.save(GUEST, ...rules)
    const line = await waitFor(async () => (await read()).find((one) => pattern.test(one)) ?? '', {
      what: `a line like ${pattern}`,
    })
    const ms = performance.now() - start
    expect(ms).toBeLessThan(await node.fair(PROMISE_MS, ms))
    return line
  }

  beforeAll(() => node.hears())

  test('a save is answered, an error, too, and its end', async () => {
    const line = await answer(
      / applied: :3001\/tcp -> 10\.10\.10\.105:22 \(rule 1, NAT 3001\)$/,
      'IN ACCEPT',
      'IN SSH(ACCEPT) # NAT 3001',
    )
    expect(Math.abs(timeOf(line) - Date.now() / 1000)).toBeLessThan(60)
    await answer(
      / 3 NAT .* error: 'port 3002' is free text here; .*did you mean NAT 3002\?/,
      'IN SSH(ACCEPT) # NAT port 3002',
    )
    await answer(/ over: error: 'port 3002'/, 'IN SSH(ACCEPT) # NAT 3002')
    const before = (await read()).length
    await node.save(GUEST, 'IN SSH(ACCEPT) # NAT 3002', 'IN ACCEPT')
    await answer(/ applied: :3003\/tcp/, 'IN SSH(ACCEPT) # NAT 3003')
    expect((await read()).length).toBe(before + 1)
  })

  test('the file may be moved, and is not made', async () => {
    await node.sh(`mv ${LOG} ${LOG}.1`)
    await node.save(GUEST, 'IN SSH(ACCEPT) # NAT 3010')
    await node.pvenat.service?.says(/:3010\/tcp/)
    expect(await node.sh(`ls ${LOG} 2>&1 || true`)).toContain('No such file')
    await node.sh(`install -m 640 -o root -g adm /dev/null ${LOG}`)
    await answer(/ applied: :3011\/tcp/, 'IN SSH(ACCEPT) # NAT 3011')
    expect((await read()).filter((line) => line.includes(':3010/tcp'))).toHaveLength(1)
    expect(await node.sh(`stat -c '%a %U %G' ${LOG}`)).toBe('640 root adm')
  })

  test('a full disk costs nothing else, and what is cut off ends in a line of its own', async () => {
    await node.sh(
      `printf '107 6 x' >>${LOG}; dd if=/dev/zero of=/var/log/full bs=1k count=64 2>/dev/null || true`,
    )
    await node.save(
      GUEST,
      ...Array.from({ length: 15 }, (_, i) => `IN SSH(ACCEPT) # NAT port ${3100 + i} ${'x'.repeat(300)}`),
    )
    await node.pvenat.service?.says(/cannot write \/var\/log\/pve-firewall\.log: ENOSPC/)
    await node.publishes({ inStep: true, degraded: null })
    expect((await node.pvenat.run('plan')).exitCode).toBe(0)
    await node.sh('rm /var/log/full')
    await answer(/ applied: :3012\/tcp/, 'IN SSH(ACCEPT) # NAT 3012')
    await node.pvenat.service?.says(/pve-firewall\.log can be written again/)
    const text = `${await node.sh(`cat ${LOG}`)}\n`
    expect(guiLines(text, 107)).toEqual(['107 6 x'])
    // Of the line that the disk cut off stands as much as it took.
    const torn = guiLines(text).filter((line) => !/^(?:107 6 x|\d+ \d NAT \S+ [+-]\d{4} .+)$/.test(line))
    expect(torn.filter((line) => !/^1(?:05?)?(?: |$)/.test(line))).toEqual([])
    expect(torn.length).toBeLessThan(2)
  })
})
