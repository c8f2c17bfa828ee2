// What an administrator and other programs learn of the service: `status`, and the files in its run folder.
import { describe, expect, test } from 'vitest'
import type { Row } from '../../src/show/list.ts'
import type { Status } from '../../src/show/status.ts'
import { makeLooking } from '../../src/node/asking.ts'
import { openFolder } from '../../src/node/published.ts'
import { backends, saveInPlace, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('status and what the service publishes, %s', (backend) => {
  const node = testNode(backend, { settings: 'interval = 1', serve: ['108:80/tcp'], pvenat: 'run' })

  const published = () => node.published<Status>()
  const status = async () => {
    const { stdout, exitCode } = await node.pvenat.run('status', '--json')
    return { ...(JSON.parse(stdout) as Status), exitCode }
  }

  test('OK: the service and the command say the same', async () => {
    const { exitCode, ...said } = await status()
    expect(exitCode).toBe(0)
    expect(said).toMatchObject({ inStep: true, firewall: 'iptables', backend, degraded: null, applies: 1 })
    expect(said.counts).toMatchObject({ active: 7, inactive: 1 })
    const ticking = { updatedAt: '' }
    expect({ ...said, ...ticking }).toEqual({ ...(await published()), ...ticking })
    expect(JSON.stringify(await node.published('list.json'))).toBe(
      JSON.stringify(JSON.parse((await node.pvenat.run('list', '--json')).stdout)),
    )
    expect((await node.pvenat.run('status')).stdout).toMatch(/^pvenat .* on pve1: OK\n/)
  })

  test('the folder and its files are readable for their group, and nobody else', async () => {
    const modes = await node.sh('stat -c %a /run/pvenat /run/pvenat/*.json')
    const [folder, ...files] = modes.split('\n')
    expect(folder).toBe('750')
    expect([...new Set(files)]).toEqual(['640'])
  })

  test('a rule that does not work is a WARNING, with the reason; list shows what was typed', async () => {
    const rule = 'IN SSH(ACCEPT) # NAT 8006'
    const file = await node.text('firewall/105.fw')
    await node.edit('firewall/105.fw', (text) => `${text.trimEnd()}\n${rule}\n`)
    await waitFor(async () => (await published()).diagnostics.length === 1, { what: 'the diagnostic' })
    const { exitCode, diagnostics, counts, level, reasons } = await status()
    expect({ exitCode, level, text: diagnostics[0]?.text, errors: counts.error }).toEqual({
      exitCode: 1,
      level: 'WARNING',
      text: rule,
      errors: 1,
    })
    expect(reasons).toEqual([
      '1 of 8 NAT rules does not work',
      expect.stringMatching(/^105\.fw:\d+: port 8006\/tcp belongs to this node/),
    ])
    expect(await published()).toMatchObject({ level, reasons })
    const list = await node.pvenat.run('list', '--state', 'error')
    expect(list.stdout).toMatch(/^STATE .*COMMENT\nerror .* NAT 8006\n/)
    expect((await node.published<Row[]>('list.json')).filter(({ state }) => state === 'error')).toHaveLength(
      1,
    )
    expect((await node.pvenat.run('status')).stdout).toContain('error[port-reserved]')
    await saveInPlace(node.tree, 'firewall/105.fw', file)
    await waitFor(async () => (await published()).diagnostics.length === 0, { what: 'its end' })
  })

  test('a connection is counted within three seconds while somebody looks', async () => {
    // The run folder is the node's own.
    const runDir = `/proc/${node.lab.ns('pve').pid}/root/run/pvenat`
    const folder = openFolder(runDir)
    const rows = await waitFor(() => node.published<Row[]>('list.json'))
    const shop = rows.find(({ comment }) => /8080/.test(comment))
    const counted = async (): Promise<number> => {
      await folder.refresh()
      return folder.published.counters?.rules.get(shop?.id ?? '')?.[0] ?? 0
    }
    const looking = makeLooking(runDir)
    looking(true)
    const before = await counted()
    await node.ask(8080)
    await waitFor(async () => (await counted()) === before + 1, { timeoutMs: 3000, what: 'the count' })
    looking(false)
  })

  test('what others break is counted by its kind', async () => {
    await node.sh(`iptables-${backend} -w -t nat -D PREROUTING 1`)
    await waitFor(async () => (await published()).repairs.hook === 1, { what: 'the repair of a jump' })
    await node.sh(`iptables-${backend} -w -t nat -F PVENAT-DNAT`)
    await waitFor(async () => (await published()).repairs.chain === 1, { what: 'the repair of a chain' })
    expect(await status()).toMatchObject({ inStep: true, exitCode: 0 })
  })

  test('CRITICAL: why, since when, and exit 2; the reason is remembered when it is over', async () => {
    const { since } = await published()
    const mount = await node.unmount()
    await waitFor(async () => !(await published()).inStep, { what: 'the trouble' })
    const trouble = await status()
    expect(trouble).toMatchObject({ inStep: false, exitCode: 2, level: 'CRITICAL', counts: { active: 7 } })
    expect(trouble.degraded).toMatch(/is not mounted/)
    expect(Date.parse(trouble.since ?? '')).toBeGreaterThan(Date.parse(since ?? ''))
    await mount()
    await waitFor(async () => (await published()).inStep, { what: 'the end of the trouble' })
    expect(await status()).toMatchObject({ degraded: null, exitCode: 0 })
    expect((await published()).lastError).toMatch(/is not mounted/)
  })

  test('list tells what was asked for, and again while it is watched', async () => {
    const ids = async (...words: string[]) => {
      const { stdout } = await node.pvenat.run('list', '--json', ...words)
      return (JSON.parse(stdout) as Row[]).map(
        ({ guest, external }) => `${guest?.vmid} ${external.ports?.join()}`,
      )
    }
    expect(await ids('--guest', '105')).toEqual(['105 1022,1022'])
    expect(await ids('--port', '1022')).toEqual(['105 1022,1022'])
    expect(await ids('--state', 'error')).toEqual([])
    expect(await node.pvenat.run('list', '--state', 'odd')).toMatchObject({ exitCode: 2 })
    const before = await node.text('firewall/105.fw')
    const json = await ids()
    await node.edit('firewall/105.fw', (text) => `${text}IN ACCEPT -p tcp -dport 22 # nat 2223\n`)
    expect((await node.pvenat.run('list')).stdout).toMatch(/\n\nnearly NAT, see pvenat check: 105\.fw:\d+$/)
    expect((await node.pvenat.run('list', '--port', '1022')).stdout).not.toContain('nearly')
    expect(await ids()).toEqual(json)
    await node.edit('firewall/105.fw', () => before)
    const watching = node.lab.spawn('pve', [...node.pvenat.argv('list'), '--watch', '--port', '8080'])
    await watching.says(/:8080\/tcp +10\.10\.10\.108:80 .* 0 +0 +NAT 8080 shop\n/)
    await node.ask(8080)
    await watching.says(/:8080\/tcp +10\.10\.10\.108:80 .* 1 +60 +NAT 8080 shop\n/)
    expect(watching.stdout).not.toContain('\u001b')
    await watching.stop('SIGINT')
  })

  test('stopped: NAT is in force, but nobody keeps it', async () => {
    await node.pvenat.service?.stop()
    expect((await published()).pid).toBe(null)
    expect(await status()).toMatchObject({ inStep: true, exitCode: 2, level: 'CRITICAL' })
    const line = 'the service does not run: systemctl start pvenat'
    expect((await node.pvenat.run('status')).stdout.split('\n')[1]).toBe(`  ${line}`)
    expect((await node.pvenat.run('list')).stdout.split('\n')[0]).toBe(line)
  })

  test('list shows what the kernel holds: pending, and only the rules of which something is missing', async () => {
    const text = await node.text('firewall/105.fw')
    const states = async () =>
      (JSON.parse((await node.pvenat.run('list', '--json')).stdout) as Row[]).map(
        ({ state, external, comment }) => `${state} ${external.ports?.join()} ${comment}`,
      )
    const before = await states()
    await node.save('firewall/105.fw', 'IN HTTP(ACCEPT) # NAT 1021', 'IN SSH(ACCEPT) # NAT 1022')
    expect(await states()).toEqual(['pending 1021,1021 NAT 1021', ...before])
    expect(await status()).toMatchObject({ inStep: false, counts: { pending: 1, active: 7 } })
    await node.sh(`iptables-${backend} -w -t nat -D PREROUTING 1`)
    expect((await states()).filter((line) => /^active \d/.test(line))).toEqual([])
    await node.pvenat.run('apply')
    expect(await states()).toEqual(['active 1021,1021 NAT 1021', ...before])
    await node.save('firewall/105.fw', 'IN ACCEPT -p tcp -dport 22,80 # NAT 1022,8080')
    await node.serve('105:22/tcp')
    await node.pvenat.run('apply')
    expect((await states())[0]).toBe('partial 1022,1022,8080,8080 NAT 1022,8080')
    expect(await node.ask(1022)).toMatchObject({ server: '105' })
    expect(await node.ask(8080)).toMatchObject({ server: '108' })
    expect(await status()).toMatchObject({
      counts: { partial: 1 },
      reasons: expect.arrayContaining(['1 of 7 NAT rules does not work']) as string[],
    })
    await node.edit('firewall/105.fw', () => text)
    await node.pvenat.run('apply')
    expect(await states()).toEqual(before)
  })

  test('plan tells what becomes of each rule, and touches nothing; apply tells the same', async () => {
    const rules = ['IN SSH(ACCEPT) # NAT 1023', 'OUT ACCEPT # NAT']
    await node.save('firewall/105.fw', ...rules)
    const told = [
      '~ :1023/tcp → 105 (plain) 10.10.10.105:22  (105.fw:7)',
      '    before: :1022/tcp → 105 (plain) 10.10.10.105:22  (105.fw:7)',
      '+ 105 (plain) goes out masqueraded by vmbr0  (105.fw:8)',
    ]
    const plan = await node.pvenat.run('plan')
    expect(plan.stdout.split('\n')).toEqual([
      ...told,
      expect.stringMatching(/^in the kernel: \d+ chains?/),
      '8 NAT rules looked at, all can be applied',
    ])
    expect(plan.exitCode).toBe(3)
    expect((await node.pvenat.run('plan', '--verbose')).stdout).toMatch(
      /^ {2}\+ -A PVENAT-DNAT .*--dport 1023 /m,
    )
    const json = JSON.parse((await node.pvenat.run('plan', '--json')).stdout) as {
      kind: string
      added: string[]
    }[]
    expect(json.at(-1)).toMatchObject({ kind: 'rule-added', what: '105.fw:8', removed: [] })
    expect((await node.pvenat.run('apply')).stdout).toContain(told.join('\n'))
    expect(await node.pvenat.run('plan')).toMatchObject({
      exitCode: 0,
      stdout: 'everything is in force\n8 NAT rules looked at, all can be applied',
    })
    await node.sh(`iptables-${backend} -w -t nat -F PVENAT-DNAT`)
    expect((await node.pvenat.run('plan')).stdout).toMatch(
      /^no NAT rule changes; .*\nin the kernel: 1 chain /,
    )
    await node.sh('rm /run/pvenat/list.json')
    expect((await node.pvenat.run('plan')).stdout).toMatch(
      /^what was in force before is not remembered.*\nchanged chain/,
    )
  })
})
