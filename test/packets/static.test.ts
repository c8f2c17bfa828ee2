// Fail static: whatever cannot be read leaves NAT in force, is said once, and once when it is over.
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { otherBackend } from '../../src/facts/backend.ts'
import type { Status } from '../../src/show/status.ts'
import { fwFile, Pvenat, saveInPlace, waitFor } from '../lab/index.ts'
import { onBothAtOnce, testNode } from './node.ts'

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
    says: /cluster\.fw: it is a folder/,
  },
  'a guest’s config is gone although .vmlist names it': {
    ...aside('nodes/pve1/lxc/108.conf'),
    says: /108\.conf is missing/,
  },
}

onBothAtOnce('fail static', (backend) => {
  const node = testNode(backend, {
    settings: 'interval = 1',
    pvenat: 'run',
    serve: ['105:22/tcp', '108:80/tcp'],
  })

  const shop = () => node.ask(8080)
  const degraded = async () => (await node.published<Status>()).degraded

  test.each(Object.entries(TROUBLES))('%s', async (_, { make, mend, says }) => {
    const said = node.listen()
    try {
      await make(node.tree)
      node.pvenat.service?.signal('SIGHUP')
      await waitFor(() => said(says) > 0, { what: String(says) })
      expect(await shop()).toMatchObject({ server: '108' })
      // A whole interval later it still stands, and nothing was said again.
      await delay(1200)
      expect(await shop()).toMatchObject({ server: '108' })
      expect(said(says)).toBe(1)
      expect(await degraded()).toMatch(says)
    } finally {
      await mend(node.tree)
    }
    node.pvenat.service?.signal('SIGHUP')
    await waitFor(() => said(/in sync again/) === 1, { what: 'the end of the trouble' })
    expect(said(/in force:/)).toBe(0)
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
    const said = node.listen()
    try {
      await trouble.make(node.tree)
      await node.edit('firewall/105.fw', (text) => text.replace('1022', '5022'))
      await node.opens(5022)
      expect(await shop()).toMatchObject({ server: '108' })
      await waitFor(async () => /cannot read .*108/.test(String(await degraded())))
      expect(said(/cannot read .*108\S*: .*; what it said before stays in force/)).toBe(1)
    } finally {
      await trouble.mend(node.tree)
    }
    await node.edit('firewall/105.fw', (text) => text.replace('5022', '1022'))
    await waitFor(() => said(/in force:/) === 2, { what: 'the edit to be undone' })
    await waitFor(() => said(/108\.\w+ can be read again/) === 1)
    expect(await node.ask(5022)).toBe('refused')
    expect(await shop()).toMatchObject({ server: '108' })
  })

  test('a guest that is missing from .vmlist for a moment keeps its forward; one that stays away loses it', async () => {
    const list = await node.text('.vmlist')
    const without = list.replace(/"108":\{[^}]*\},/, '')
    const said = node.listen()
    await writeFile(join(node.tree, '.vmlist'), without)
    node.pvenat.service?.signal('SIGHUP')
    await delay(200)
    await writeFile(join(node.tree, '.vmlist'), list)
    await delay(1500)
    expect(said(/in force:/)).toBe(0)
    expect(await shop()).toMatchObject({ server: '108' })
    await writeFile(join(node.tree, '.vmlist'), without)
    await waitFor(async () => typeof (await shop()) === 'string', { what: 'the forward to go' })
    await writeFile(join(node.tree, '.vmlist'), list)
    await waitFor(() => said(/in force:/) === 2, { what: 'the forward to come back' })
    expect(await shop()).toMatchObject({ server: '108' })
  })

  test('a file that is truncated and then written is never taken for no rules', async () => {
    const text = await node.text('firewall/108.fw')
    const said = node.listen()
    await saveInPlace(node.tree, 'firewall/108.fw', '')
    await delay(200)
    await saveInPlace(node.tree, 'firewall/108.fw', text)
    await delay(1000)
    expect(said(/in force:/)).toBe(0)
    expect(await shop()).toMatchObject({ server: '108' })
  })

  test('the backend belongs to what is saved: at a start and later, while nothing can be read', async () => {
    const other = otherBackend(backend)
    const conf = await node.text('pvenat.conf')
    const flush = () => node.sh(`iptables-${backend} -w -t nat -F PREROUTING`)
    await node.pvenat.service?.stop()
    await saveInPlace(node.tree, 'pvenat.conf', conf.replace(`backend = ${backend}`, `backend = ${other}`))
    await aside('local').make(node.tree)
    await flush()
    expect(typeof (await shop())).toBe('string')
    const service = node.pvenat.launch()
    await service.says(/is not mounted/)
    expect(await shop()).toMatchObject({ server: '108' })
    await flush()
    await waitFor(async () => typeof (await shop()) !== 'string', { what: 'the repair' })
    expect(await node.sh(`iptables-${other}-save`)).not.toContain('PVENAT')
    await saveInPlace(node.tree, 'pvenat.conf', conf)
    await aside('local').mend(node.tree)
    await service.says(/in sync again/)
  })

  test('what is saved for boot is written when it changes, and only then', async () => {
    const saved = () => node.sh('stat -c %i /var/lib/pvenat/inforce.json')
    const text = await node.text('firewall/105.fw')
    const before = await saved()
    const said = node.listen()
    await node.edit('firewall/105.fw', () => `${text.trimEnd()}\nIN SSH(ACCEPT) # NAT 8006\n`)
    await waitFor(() => said(/error\[port-reserved\]/) > 0, { what: 'the mistake to be told' })
    expect(await saved()).toBe(before)
    await node.edit('firewall/105.fw', () => `${text.trimEnd()}\nIN SSH(ACCEPT) # NAT 20022\n`)
    await waitFor(async () => (await saved()) !== before, { what: 'the new rule to be saved' })
    await node.edit('firewall/105.fw', () => text)
    await node.converged()
  })

  test('started without /etc/pve it touches nothing; NAT comes with it', async () => {
    await node.pvenat.service?.stop()
    await node.pvenat.run('rollback')
    await aside('local').make(node.tree)
    const service = node.pvenat.launch()
    await service.says(/is not mounted/)
    expect(await node.sh(`iptables-${backend}-save`)).not.toContain('PVENAT')
    await aside('local').mend(node.tree)
    await service.says(/in force: /)
    expect(await shop()).toMatchObject({ server: '108' })
    await service.stop()
  })
})

describe('without events', () => {
  // As on the real /etc/pve for what other nodes write: the file changes below the mount, and inotify is silent.
  const node = testNode('legacy', {
    settings: 'interval = 1',
    serve: ['105:22/tcp'],
    prepare: ({ tree }) =>
      node.sh(`mkdir -p /run/empty /run/etc-pve
        mount -t overlay -o lowerdir=${tree}:/run/empty overlay /run/etc-pve`),
  })

  test('an edit is followed at the next look', async () => {
    await new Pvenat(node.lab, 'legacy', '/run/etc-pve').start()
    await saveInPlace(node.tree, 'firewall/105.fw', fwFile('IN SSH(ACCEPT) # NAT 5022'))
    await node.opens(5022)
  })
})
