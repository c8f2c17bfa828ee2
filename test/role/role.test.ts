// The Ansible role, as docs/automation.md names it, on a Debian machine that looks like a node: each second run changes nothing.
import { createHash } from 'node:crypto'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { blocksOf } from '../docs/commands.ts'
import { OLD_VERSION, VERSION } from '../package/debs.ts'
import { createMachine, SAYS_PVE, type Machine } from '../package/machine.ts'
import { suites } from '../package/root.ts'
import { BASE, Releases, serving } from '../package/site.ts'

/** Of the last one others ask by a virtual name, which debootstrap does not know. */
const ANSIBLE = ['ansible-core', 'python3-apt', 'python3-cffi-backend']

let releases: Releases
let site: string
let oldSite: string
let play: string
beforeAll(async () => {
  releases = await Releases.create()
  site = await releases.make('new')
  oldSite = await releases.makeOld('old', site)
  const text = blocksOf('docs/automation.md').find(({ text: one }) =>
    one.includes('install/ansible/pvenat'),
  )?.text
  play = join(releases.folder, 'play')
  await cp('install/ansible', join(play, 'install/ansible'), { recursive: true })
  await mkdir(play, { recursive: true })
  await writeFile(join(play, 'play.yml'), text ?? '')
})
afterAll(() => releases.remove())

// Against what hangs; a play takes ten seconds where nothing else runs.
describe.each(suites)('on %s', { timeout: 300_000 }, (suite) => {
  let machine: Machine
  beforeAll(async () => {
    machine = await createMachine(suite, { play }, ANSIBLE)
    await machine.debian.sh(SAYS_PVE)
  })
  afterAll(() => machine.stop())

  /** Runs the play while a folder is served; what it says of the one host at the end. */
  const run = async (
    folder: string,
    variables: Readonly<Record<string, string | readonly string[]>> = {},
  ) => {
    const key = await readFile(join(folder, 'pvenat-archive-keyring.gpg'))
    const sum = createHash('sha256').update(key).digest('hex')
    const all = JSON.stringify({ pvenat_base: BASE, pvenat_key_sum: sum, ...variables })
    const words = ['-i', 'proxmox,', '-c', 'local', '-e', all, '/srv/play/play.yml']
    const { stdout, stderr } = await serving(machine.lab, folder, () =>
      machine.debian.run('env', 'HOME=/root', 'LC_ALL=C.UTF-8', 'ansible-playbook', ...words),
    )
    const [, changed, failed] = /\bchanged=(\d+) .*\bfailed=(\d+)/.exec(stdout) ?? []
    return { changed: Number(changed), failed: Number(failed), said: `${stdout}\n${stderr}` }
  }
  /** Runs it twice; the first run changes something, the second nothing. */
  const runTwice = async (...words: Parameters<typeof run>) => {
    const first = await run(...words)
    expect(first, first.said).toMatchObject({ failed: 0 })
    expect(first.changed, first.said).toBeGreaterThan(0)
    const second = await run(...words)
    expect(second, second.said).toMatchObject({ changed: 0, failed: 0 })
  }
  const version = async (name = 'pvenat') =>
    (await machine.debian.run('dpkg-query', '-W', '-f', '${db:Status-Status} ${Version}', name)).stdout

  test('a key that is not the expected one is refused', async () => {
    expect(await run(oldSite, { pvenat_key_sum: '0'.repeat(64) })).toMatchObject({ failed: 1 })
    expect(await version()).toBe('')
  })

  test('it installs and starts the service', async () => {
    await runTwice(oldSite)
    expect(await version()).toBe(`installed ${OLD_VERSION}`)
    expect(await machine.debian.property('pvenat', 'ActiveState')).toBe('active')
    expect(await machine.debian.property('pvenat', 'UnitFileState')).toBe('enabled')
  })

  test('it upgrades when it is told to, and not else', async () => {
    expect(await run(site)).toMatchObject({ changed: 0, failed: 0 })
    await runTwice(site, { pvenat_state: 'latest' })
    expect(await version()).toBe(`installed ${VERSION}`)
  })

  test('it writes the settings, and the service reads them', async () => {
    await runTwice(site, { pvenat_settings: '[nat]\nguest-block = 20000-59999/20\n' })
    expect((await machine.debian.must('pvenat', 'list', '--blocks')).trim()).toMatch(/20100-20119/)
  })

  test('it installs the Node.js that only pvenat uses', async () => {
    await runTwice(site, { pvenat_packages: ['pvenat', 'pvenat-nodejs'] })
    expect(await version('pvenat-nodejs')).toContain('installed')
  })

  test('it removes everything', async () => {
    await runTwice(site, { pvenat_state: 'absent' })
    const left =
      'ls -d /etc/pvenat /usr/share/keyrings/pvenat* /etc/apt/sources.list.d/pvenat* 2>/dev/null || true'
    expect((await machine.debian.sh(left)).trim()).toBe('')
    for (const name of ['pvenat', 'pvenat-nodejs']) expect(await version(name)).not.toContain('installed')
  })
})
