// `check` of files that are not in place: judged as if they were, and in words where they cannot be read.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fwFile } from '../lab/index.ts'
import { testNode } from './node.ts'

const node = testNode('legacy', { pvenat: 'apply' })
let dir: string
beforeAll(async () => (dir = await mkdtemp(join(tmpdir(), 'pvenat-check-'))))
afterAll(() => rm(dir, { recursive: true }))

/** What `check` says of a file with these rules. */
async function check(name: string, ...rules: string[]) {
  const path = join(dir, name)
  await writeFile(path, fwFile(...rules))
  const { exitCode, stdout, stderr } = await node.pvenat.run('check', path)
  const codes = [...stderr.matchAll(/^(\S+?):(\d+):\d+: (\w+\[[\w-]+\])/gm)].map(
    ([, file = '', line, code]) => `${file.replace(`${dir}/`, '').replace(node.tree, '')}:${line} ${code}`,
  )
  return { exitCode, stdout, stderr, codes }
}

test('the whole node: how many rules were looked at, and how many cannot be applied', async () => {
  const { stdout } = await node.pvenat.run('check')
  expect(stdout).toBe('7 NAT rules looked at, all can be applied')
  const text = await node.text('firewall/105.fw')
  await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 8006', '|IN SSH(ACCEPT) # NAT 8007')
  const last = '7 NAT rules looked at, 1 of them cannot be applied'
  expect(await node.pvenat.run('check')).toMatchObject({ exitCode: 1, stdout: last })
  expect((await node.pvenat.run('plan')).stdout.split('\n').at(-1)).toBe(last)
  await node.edit('firewall/105.fw', () => text)
})

test('a file for a guest of this node is judged by what the node knows', async () => {
  expect(await check('105.fw', 'IN SSH(ACCEPT) # NAT 22')).toMatchObject({
    exitCode: 1,
    stdout: '1 NAT rule looked at, 1 of them cannot be applied',
    codes: ['105.fw:7 error[port-reserved]'],
  })
  expect(await check('105.fw', 'IN SSH(ACCEPT) # NAT 2222')).toMatchObject({
    exitCode: 0,
    stdout: '1 NAT rule looked at, all can be applied',
    stderr: '',
  })
})

test('what it would take from rules of other files is said at those', async () => {
  const { exitCode, codes, stdout } = await check(
    'host.fw',
    'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 22 # NAT 8080',
  )
  expect({ exitCode, codes, stdout }).toEqual({
    exitCode: 1,
    codes: ['/firewall/cluster.fw:22 error[port-taken]'],
    stdout: '1 NAT rule looked at, all can be applied',
  })
  // Nothing was touched.
  expect(await node.pvenat.run('plan')).toMatchObject({ exitCode: 0 })
})

test('a file that no guest of this node has is judged by its text, and that is said', async () => {
  const { exitCode, stderr } = await check('999.fw', 'IN SSH(ACCEPT) # NAT 22')
  expect(exitCode).toBe(0)
  expect(stderr).toBe(`pvenat: ${dir}/999.fw is judged by its text alone: there is no guest 999 on this node`)
  expect(await check('rules.fw', 'IN SSH(ACCEPT) # NAT 22x')).toMatchObject({
    exitCode: 1,
    stdout: '1 NAT rule looked at, 1 of them cannot be applied',
    codes: ['rules.fw:7 error[endpoint-invalid]'],
  })
})

test('files and folders that cannot be read are told in words', async () => {
  const said = async (...words: string[]) => {
    const { exitCode, stderr } = await node.lab.exec('pve', words, { check: false })
    expect(exitCode).toBe(1)
    expect(stderr).not.toMatch(/ENOENT|undefined/)
    return stderr
  }
  expect(await said(...node.pvenat.argv('check', join(dir, 'none.fw')))).toBe(
    `pvenat: ${dir}/none.fw: there is no such file or folder`,
  )
  expect(await said(...node.pvenat.argv('check', dir))).toMatch(/: it is a folder \(EISDIR\)$/)
  for (const command of ['check', 'plan', 'apply', 'parse', 'compile'])
    expect(await said(...node.pvenat.argv(command), '--pve-dir', join(dir, 'none'))).toContain(
      'there is no such folder; is this a node of Proxmox VE?',
    )
})
