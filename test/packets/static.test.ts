// Fail static: whatever cannot be read leaves NAT in force, is said once, and once when it is over.
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
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

interface Trouble {
  /** Breaks the tree. */
  make: (tree: string) => Promise<void>
  mend: (tree: string) => Promise<void>
  says: RegExp
}

const aside = (name: string) => ({
  make: (tree: string) => rename(join(tree, name), join(tree, 'aside')),
  mend: async (tree: string) => {
    await rm(join(tree, name), { recursive: true, force: true })
    await rename(join(tree, 'aside'), join(tree, name))
  },
})

const replaced = (name: string, by: (path: string) => Promise<unknown>) => ({
  make: async (tree: string) => {
    await aside(name).make(tree)
    await by(join(tree, name))
  },
  mend: aside(name).mend,
})

const TROUBLES: Record<string, Trouble> = {
  'local is gone, as when /etc/pve is not mounted': { ...aside('local'), says: /is not mounted/ },
  'local is a folder': { ...replaced('local', (path) => mkdir(path)), says: /is not mounted/ },
  'the folder of the node is gone': { ...aside('nodes/pve1'), says: /nodes\/pve1 is missing/ },
  '.vmlist is gone': { ...aside('.vmlist'), says: /\.vmlist is missing/ },
  '.vmlist is half-written': {
    ...replaced('.vmlist', (path) => writeFile(path, '{"version":12,"ids":{"105":')),
    says: /not valid JSON/,
  },
  'cluster.fw is a folder': {
    ...replaced('firewall/cluster.fw', (path) => mkdir(path)),
    says: /cluster\.fw: EISDIR/,
  },
  'a guest’s config is gone although .vmlist names it': {
    ...aside('nodes/pve1/lxc/108.conf'),
    says: /108\.conf is missing/,
  },
}

describe.each(backends)('fail static on %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure('interval = 1')
    await Promise.all([lab.serve('108', 'tcp', 80), lab.serve('105', 'tcp', 22)])
    await pvenat.start()
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const shop = () => lab.ask('inet', 'tcp', '203.0.113.2:8080', { timeoutMs: 200 })
  const output = () => pvenat.service?.stdout ?? ''
  const degraded = async () =>
    (JSON.parse((await lab.exec('pve', ['cat', '/run/pvenat/status.json'])).stdout) as { degraded: unknown })
      .degraded

  test.each(Object.entries(TROUBLES))('%s', async (_, { make, mend, says }) => {
    const from = output().length
    const said = (pattern: RegExp) => output().slice(from).match(new RegExp(pattern, 'g'))?.length ?? 0
    await make(tree)
    pvenat.service?.signal('SIGHUP')
    await waitFor(() => said(says) > 0, { what: String(says) })
    expect(await shop()).toMatchObject({ server: '108' })
    // A whole interval later it still stands, and nothing was said again.
    await delay(1200)
    expect(await shop()).toMatchObject({ server: '108' })
    expect(said(says)).toBe(1)
    expect(await degraded()).toMatch(says)
    await mend(tree)
    pvenat.service?.signal('SIGHUP')
    await waitFor(() => said(/in step again/) === 1, { what: 'the end of the trouble' })
    expect(output().slice(from)).not.toMatch(/in force:/)
    await waitFor(async () => (await degraded()) === null)
  })

  const oneFile = {
    'a guest’s file is a link to nowhere': replaced('firewall/108.fw', (path) => symlink('108.fw', path)),
    'a guest’s file is a link to another file': replaced('firewall/108.fw', (path) =>
      symlink('105.fw', path),
    ),
    'a guest’s file is a folder': replaced('firewall/108.fw', (path) => mkdir(path)),
    'a guest’s config is a folder': replaced('nodes/pve1/lxc/108.conf', (path) => mkdir(path)),
  }
  test.each(Object.entries(oneFile))('%s: it keeps what it had, and the others go on', async (_, trouble) => {
    const file = join(tree, 'firewall/105.fw')
    const text = await readFile(file, 'utf8')
    const from = output().length
    const edits = () =>
      output()
        .slice(from)
        .match(/in force:/g)?.length
    const ssh = () => lab.ask('inet', 'tcp', '203.0.113.2:5022', { timeoutMs: 100 })
    await trouble.make(tree)
    await saveLikeGui(tree, 'firewall/105.fw', text.replace('1022', '5022'))
    await waitFor(async () => typeof (await ssh()) === 'object', { what: 'the edit of another guest' })
    expect(await shop()).toMatchObject({ server: '108' })
    const said = (pattern: RegExp) => output().slice(from).match(pattern)?.length ?? 0
    await waitFor(async () => /cannot read .*108/.test(String(await degraded())))
    expect(said(/cannot read .*108\S*: .*; what it said before stays in force/g)).toBe(1)
    await trouble.mend(tree)
    await saveLikeGui(tree, 'firewall/105.fw', text)
    await waitFor(() => edits() === 2, { what: 'the edit to be undone' })
    await waitFor(() => said(/108\.\w+ can be read again/g) === 1)
    expect(said(/108\.\w+ can be read again/g)).toBe(1)
    expect(await ssh()).toBe('refused')
    expect(await shop()).toMatchObject({ server: '108' })
  })

  test('a guest that is missing from .vmlist for a moment keeps its forward; one that stays away loses it', async () => {
    const list = await readFile(join(tree, '.vmlist'), 'utf8')
    const without = list.replace(/"108":\{[^}]*\},/, '')
    const from = output().length
    await writeFile(join(tree, '.vmlist'), without)
    pvenat.service?.signal('SIGHUP')
    await delay(200)
    await writeFile(join(tree, '.vmlist'), list)
    await delay(1500)
    expect(output().slice(from)).not.toMatch(/in force:/)
    expect(await shop()).toMatchObject({ server: '108' })
    await writeFile(join(tree, '.vmlist'), without)
    await waitFor(async () => (await shop()) !== undefined && typeof (await shop()) === 'string', {
      what: 'the forward to go',
    })
    await writeFile(join(tree, '.vmlist'), list)
    await waitFor(
      () =>
        output()
          .slice(from)
          .match(/in force:/g)?.length === 2,
      { what: 'the forward to come back' },
    )
    expect(await shop()).toMatchObject({ server: '108' })
  })

  test('a file that is truncated and then written is never taken for no rules', async () => {
    const file = join(tree, 'firewall/108.fw')
    const text = await readFile(file, 'utf8')
    const from = output().length
    await writeFile(file, '')
    await delay(200)
    await writeFile(file, text)
    await delay(1000)
    expect(output().slice(from)).not.toMatch(/in force:/)
    expect(await shop()).toMatchObject({ server: '108' })
  })

  test('started without /etc/pve it touches nothing; NAT comes with it', async () => {
    await pvenat.service?.stop()
    await pvenat.run('rollback')
    await aside('local').make(tree)
    const service = lab.spawn('pve', pvenat.argv('run'))
    await service.says(/is not mounted/)
    expect((await lab.exec('pve', [`iptables-${backend}-save`])).stdout).not.toContain('PVENAT')
    await aside('local').mend(tree)
    await service.says(/in force: /)
    expect(await shop()).toMatchObject({ server: '108' })
    await service.stop()
  })
})

describe('without events', () => {
  // As on the real /etc/pve for what other nodes write: the file changes below the mount, and inotify is silent.
  test('an edit is followed at the next look', async () => {
    const lab = await createLab()
    const tree = await copyTree(node1Tree)
    const [backend = 'legacy'] = backends
    try {
      await lab.exec('pve', ['mkdir', '-p', '/run/empty', '/run/etc-pve'])
      await lab.exec('pve', [
        'mount',
        '-t',
        'overlay',
        'overlay',
        '-o',
        `lowerdir=${tree}:/run/empty`,
        '/run/etc-pve',
      ])
      const pvenat = new Pvenat(lab, backend, '/run/etc-pve')
      await saveLikeGui(tree, 'pvenat.conf', `[nat]\nbackend = ${backend}\ninterval = 1\n`)
      await lab.serve('105', 'tcp', 22)
      await pvenat.start()
      await writeFile(
        join(tree, 'firewall/105.fw'),
        '[OPTIONS]\nenable: 1\n[RULES]\nIN SSH(ACCEPT) # NAT 5022\n',
      )
      await waitFor(
        async () =>
          typeof (await lab.ask('inet', 'tcp', '203.0.113.2:5022', { timeoutMs: 100 })) === 'object',
      )
    } finally {
      await lab.stop()
      await removeTree(tree)
    }
  })
})
