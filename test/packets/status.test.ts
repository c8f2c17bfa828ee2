// What an administrator and other programs learn of the service: `status`, and the files in its run folder.
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Row } from '../../src/show/list.ts'
import type { Status } from '../../src/show/status.ts'
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

describe.each(backends)('status and what the service publishes, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure('interval = 1')
    await lab.serve('108', 'tcp', 80)
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const published = async <T = Status>(name = 'status.json') =>
    JSON.parse((await lab.exec('pve', ['cat', `/run/pvenat/${name}`])).stdout) as T
  const status = async () => {
    const { stdout, exitCode } = await pvenat.run('status', '--json')
    return { ...(JSON.parse(stdout) as Status), exitCode }
  }

  test('all is well; the service and the command say the same', async () => {
    const { exitCode, ...said } = await status()
    expect(exitCode).toBe(0)
    expect(said).toMatchObject({ inStep: true, firewall: 'iptables', backend, degraded: null, applies: 1 })
    expect(said.counts).toMatchObject({ active: 7, inactive: 1 })
    const ticking = { updatedAt: '' }
    expect({ ...said, ...ticking }).toEqual({ ...(await published()), ...ticking })
    expect(JSON.stringify(await published('list.json'))).toBe(
      JSON.stringify(JSON.parse((await pvenat.run('list', '--json')).stdout)),
    )
    expect((await pvenat.run('status')).stdout).toMatch(/^pvenat .* on pve1: all is well\n/)
  })

  test('the folder and its files are readable for their group, and nobody else', async () => {
    const modes = (await lab.exec('pve', ['sh', '-c', 'stat -c "%a %n" /run/pvenat /run/pvenat/*.json']))
      .stdout
    expect(modes.split('\n').map((line) => line.split(' ')[0])).toEqual(['750', '640', '640', '640', '640'])
  })

  test('a wrong rule is told, but is no reason to be woken at night', async () => {
    const rule = 'IN SSH(ACCEPT) # NAT 8006'
    const file = await readFile(join(tree, 'firewall/105.fw'), 'utf8')
    await saveLikeGui(tree, 'firewall/105.fw', `${file.trimEnd()}\n${rule}\n`)
    await waitFor(async () => (await published()).diagnostics.length === 1, { what: 'the diagnostic' })
    const { exitCode, diagnostics, counts } = await status()
    expect({ exitCode, text: diagnostics[0]?.text, errors: counts.error }).toEqual({
      ...{ exitCode: 0, text: rule, errors: 1 },
    })
    expect((await published<Row[]>('list.json')).filter(({ state }) => state === 'error')).toHaveLength(1)
    expect((await pvenat.run('status')).stdout).toContain('error[port-reserved]')
    await writeFile(join(tree, 'firewall/105.fw'), file)
    await waitFor(async () => (await published()).diagnostics.length === 0, { what: 'its end' })
  })

  test('what others break is counted by its kind', async () => {
    await lab.exec('pve', [`iptables-${backend}`, '-t', 'nat', '-D', 'PREROUTING', '1'])
    await waitFor(async () => (await published()).repairs.hook === 1, { what: 'the repair of a jump' })
    await lab.exec('pve', [`iptables-${backend}`, '-t', 'nat', '-F', 'PVENAT-DNAT'])
    await waitFor(async () => (await published()).repairs.chain === 1, { what: 'the repair of a chain' })
    expect(await status()).toMatchObject({ inStep: true, exitCode: 0 })
  })

  test('degraded: why, since when, and exit 1; the reason is remembered when it is over', async () => {
    const { since } = await published()
    await rename(join(tree, 'local'), join(tree, 'aside'))
    await waitFor(async () => !(await published()).inStep, { what: 'the trouble' })
    const trouble = await status()
    expect(trouble).toMatchObject({ inStep: false, exitCode: 1, counts: { active: 7 } })
    expect(trouble.degraded).toMatch(/is not mounted/)
    expect(Date.parse(trouble.since ?? '')).toBeGreaterThan(Date.parse(since ?? ''))
    await rename(join(tree, 'aside'), join(tree, 'local'))
    await waitFor(async () => (await published()).inStep, { what: 'the end of the trouble' })
    expect(await status()).toMatchObject({ degraded: null, exitCode: 0 })
    expect((await published()).lastError).toMatch(/is not mounted/)
  })

  test('list tells what was asked for, and again while it is watched', async () => {
    const ids = async (...words: string[]) => {
      const { stdout } = await pvenat.run('list', '--json', ...words)
      return (JSON.parse(stdout) as Row[]).map(
        ({ guest, external }) => `${guest?.vmid} ${external.ports?.join()}`,
      )
    }
    expect(await ids('--guest', '105')).toEqual(['105 1022,1022'])
    expect(await ids('--port', '1022')).toEqual(['105 1022,1022'])
    expect(await ids('--state', 'error')).toEqual([])
    expect(await pvenat.run('list', '--state', 'odd')).toMatchObject({ exitCode: 2 })
    const watching = lab.spawn('pve', [...pvenat.argv('list'), '--watch', '--port', '8080'])
    await watching.says(/:8080\/tcp +10\.10\.10\.108:80 .* 0 +0\n/)
    await lab.ask('inet', 'tcp', '203.0.113.2:8080')
    await watching.says(/:8080\/tcp +10\.10\.10\.108:80 .* 1 +60\n/)
    expect(watching.stdout).not.toContain('\u001b')
    await watching.stop('SIGINT')
  })

  test('stopped: NAT is in force, but nobody keeps it', async () => {
    await pvenat.service?.stop()
    expect((await published()).pid).toBe(null)
    expect(await status()).toMatchObject({ inStep: true, exitCode: 1 })
    expect((await pvenat.run('status')).stdout).toMatch(/systemctl start pvenat/)
  })

  test('plan tells what becomes of each rule, and touches nothing; apply tells the same', async () => {
    const rules = ['IN SSH(ACCEPT) # NAT 1023', 'OUT ACCEPT # NAT']
    await writeFile(
      join(tree, 'firewall/105.fw'),
      `[OPTIONS]\nenable: 1\n\n[RULES]\n\n\n${rules.join('\n')}\n`,
    )
    const told = [
      '~ :1023/tcp → 105 (plain) 10.10.10.105:22  (105.fw:7)',
      '    before: :1022/tcp → 105 (plain) 10.10.10.105:22  (105.fw:7)',
      '+ 105 (plain) goes out masqueraded by vmbr0  (105.fw:8)',
    ]
    const plan = await pvenat.run('plan')
    expect(plan.stdout.split('\n')).toEqual([...told, expect.stringMatching(/^in the kernel: \d+ chains?/)])
    expect(plan.exitCode).toBe(3)
    expect((await pvenat.run('plan', '--verbose')).stdout).toMatch(/^ {2}\+ -A PVENAT-DNAT .*--dport 1023 /m)
    const json = JSON.parse((await pvenat.run('plan', '--json')).stdout) as {
      kind: string
      added: string[]
    }[]
    expect(json.at(-1)).toMatchObject({ kind: 'rule-added', what: '105.fw:8', removed: [] })
    expect((await pvenat.run('apply')).stdout).toContain(told.join('\n'))
    expect(await pvenat.run('plan')).toMatchObject({ exitCode: 0, stdout: 'everything is in force' })
    await lab.exec('pve', [`iptables-${backend}`, '-t', 'nat', '-F', 'PVENAT-DNAT'])
    expect((await pvenat.run('plan')).stdout).toMatch(/^no NAT rule changes; .*\nin the kernel: 1 chain /)
    await lab.exec('pve', ['rm', '/run/pvenat/list.json'])
    expect((await pvenat.run('plan')).stdout).toMatch(
      /^what was in force before is not remembered.*\nchanged chain/,
    )
  })
})
