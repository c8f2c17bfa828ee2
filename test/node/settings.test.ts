// pvenat.conf: each key, each kind of bad value with its line, both files, and what happens when one cannot be used.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { formatRange } from '../../src/address.ts'
import { word } from '../../src/diagnostic.ts'
import { lookOnce } from '../../src/node/look.ts'
import { readSettings } from '../../src/node/settings.ts'
import { Unreadable } from '../../src/node/tree.ts'
import { DEFAULT_SETTINGS, type Settings } from '../../src/settings.ts'

let dir: string
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'pvenat-settings-'))))
afterEach(() => rmSync(dir, { recursive: true }))

const fileOf = (name: string) => join(dir, name)
async function read(...texts: string[]): Promise<{ settings: Settings; says: string[] }> {
  const files = texts.map((text, i) => {
    writeFileSync(fileOf(`${i}.conf`), text)
    return fileOf(`${i}.conf`)
  })
  const { settings, diagnostics } = await readSettings(files)
  const says = diagnostics.map((one) => {
    const { file, span } = one.place
    return `${file.slice(dir.length + 1)}:${span.line}: ${word(one).severity}[${one.code}] ${word(one).message}`
  })
  return { settings, says }
}
const guestOf = ({ guests }: Settings, vmid = 107) => {
  const { ports, addresses, address } = guests.get(vmid) ?? {}
  return { ports, addresses: addresses?.map(formatRange), address: address && formatRange(address) }
}

test('without files the defaults hold', async () => {
  expect(await readSettings([fileOf('none'), fileOf('neither')])).toMatchObject({
    settings: DEFAULT_SETTINGS,
    diagnostics: [],
  })
})

describe('a good value', () => {
  test.each<[string, (settings: Settings) => unknown, unknown]>([
    ['external = eth0, vmbr0.5', (one) => one.external, { auto: false, names: ['eth0', 'vmbr0.5'] }],
    ['external = auto', (one) => one.external, { auto: true, names: [] }],
    ['external = +wg0', (one) => one.external, { auto: true, names: ['wg0'] }],
    ['external = auto, +wg0, tun0', (one) => one.external, { auto: true, names: ['wg0', 'tun0'] }],
    ['external = wg0, auto', (one) => one.external, { auto: true, names: ['wg0'] }],
    ['external = autobahn', (one) => one.external, { auto: false, names: ['autobahn'] }],
    [
      'internal = 10.0.0.0/8,fd10::/64',
      (one) => [one.internal.auto, ...one.internal.networks.map(formatRange)],
      [false, '10.0.0.0/8', 'fd10::/64'],
    ],
    [
      'internal = +10.10.10.0/24',
      (one) => [one.internal.auto, ...one.internal.networks.map(formatRange)],
      [true, '10.10.10.0/24'],
    ],
    ['require-firewall = no', (one) => one.requireFirewall, false],
    ['backend = nft', (one) => one.backend, 'nft'],
    ['hairpin = others', (one) => one.hairpin, 'others'],
    [
      'guest-ports = 80, 20000-20999',
      (one) => one.guestPorts,
      [
        [80, 80],
        [20000, 20999],
      ],
    ],
    [
      'guest-block = 20000-59999/20',
      (one) => JSON.stringify(one.guestBlock),
      JSON.stringify({ ports: [20000, 59999], size: 20 }),
    ],
    ['guest-block = none', (one) => one.guestBlock, 'none'],
    ['guest-block =', (one) => one.guestBlock, 'none'],
    ['[guest 107]\nblock = 7', ({ guests }) => guests.get(107)?.block, 7],
    [
      'reserved-ports = tcp:22,udp:5404-5412',
      (one) => one.reserved.map(({ proto, ports }) => `${proto} ${ports.join('-')}`),
      ['tcp 22-22', 'udp 5404-5412'],
    ],
    ['reserved-ports = +tcp:9000', (one) => one.reserved.length, DEFAULT_SETTINGS.reserved.length + 1],
    ['reserved-ports = auto +tcp:9000', (one) => one.reserved.length, DEFAULT_SETTINGS.reserved.length + 1],
    ['allow-reserved = yes', (one) => one.allowReserved, true],
    ['cut-removed = yes', (one) => one.cutRemoved, true],
    ['gui-log = errors', (one) => one.guiLog, 'errors'],
    ['interval = 60 ; seconds', (one) => one.intervalSeconds, 60],
    ['[guest 107]\nports = 20100-20119', guestOf, { ports: [[20100, 20119]] }],
    [
      '[guest 107]\naddresses = 203.0.113.7, 2001:db8::7',
      guestOf,
      { addresses: ['203.0.113.7', '2001:db8::7'] },
    ],
    ['[guest 107]\naddress = 10.10.10.107', guestOf, { address: '10.10.10.107' }],
  ])('%s', async (text, pick, expected) => {
    const { settings, says } = await read(`[nat]\n${text}\n`)
    expect(says).toEqual([])
    expect(pick(settings)).toEqual(
      typeof expected === 'object' && !Array.isArray(expected)
        ? { ports: undefined, addresses: undefined, address: undefined, ...expected }
        : expected,
    )
  })
})

describe('a bad value leaves the default', () => {
  test.each([
    'external = eth0|rm',
    'external = $(id)',
    'external = ,',
    'external = +',
    'internal = 10.0.0.0/33',
    'internal = lan',
    'require-firewall = maybe',
    'backend = nftables',
    'hairpin = 1',
    'guest-ports = 0-80',
    'guest-ports = 80-70',
    'guest-ports = 1-65536',
    'guest-ports = x',
    'guest-ports = ٨٠',
    'guest-block = 20000-59999',
    'guest-block = 20000-20009/11',
    'guest-block = 20000-20009/0',
    'guest-block = 1-65536/20',
    'guest-block = 20000-59999/20/2',
    'reserved-ports = 22',
    'reserved-ports = icmp:1',
    'reserved-ports = +',
    'allow-reserved = 2',
    'cut-removed =',
    'gui-log = some',
    'interval = 0',
    'interval = 3601',
    'interval = 1e3',
    'interval = -5',
  ])('%s', async (text) => {
    const { settings, says } = await read(`; a comment\n[nat]\n\n${text}\n`)
    const [key = ''] = text.split(' ')
    expect(says).toEqual([
      expect.stringContaining(
        `0.conf:4: error[setting-value] bad value '${text
          .slice(key.length + 2)
          .trim()
          .replace(/;.*/, '')
          .trim()}`,
      ),
    ])
    expect(settings).toEqual({ ...DEFAULT_SETTINGS, guests: new Map() })
  })

  test.each([
    'ports = 70000',
    'block = -1',
    'block = 1,2',
    'addresses = 203.0.113.0/24',
    'address = 10.10.10.107,10.10.10.108',
    'address = db',
  ])('[guest 107] %s', async (text) => {
    const { settings, says } = await read(`[guest 107]\n${text}\n`)
    expect(says).toEqual([expect.stringMatching(/^0\.conf:2: error\[setting-value\]/)])
    expect(guestOf(settings)).toEqual({ ports: undefined, addresses: undefined, address: undefined })
  })
})

test.each([
  ['[nat]\nallow-reserve = yes\n', 2, 'allow-reserve'],
  ['allow-reserved = yes\n', 1, 'allow-reserved'],
  ['[nat]\n[gast 107]\nports = 1\n', 2, 'gast 107'],
  ['[guest 7]\nports = 1\n', 1, 'guest 7'],
  ['[guest 107x]\n', 1, 'guest 107x'],
  ['[guest 107]\nbackend = nft\n', 2, 'backend'],
  ['[nat.external]\nx = 1\n', 1, 'nat.external'],
  ['[__proto__]\nx = 1\n', 1, '__proto__'],
  ['[nat]\nconstructor = 1\n', 2, 'constructor'],
  ['[nat]\n__proto__ = 1\n', 2, '__proto__ = 1'],
  ['[nat]\nallow-reserved[] = yes\n', 2, 'allow-reserved[]'],
  ['[nat]\n[guest 107\nallow-reserved = yes\n', 2, '[guest 107'],
  ['[nat]\n[guest 107] x\nallow-reserved = yes\n', 2, '[guest 107] x'],
])('what is unknown is told with its line: %j', async (text, line, key) => {
  const { settings, says } = await read(text)
  expect(says).toEqual([`0.conf:${line}: warning[setting-unknown] unknown setting '${key}' is ignored`])
  expect(settings.allowReserved).toBe(false)
})

test.each(['[guest 107] ; the shop', '[guest 107]# the shop', '  [guest 107]  '])(
  'a header may have a comment: %s',
  async (header) => {
    const { settings, says } = await read(`[guest 106]\nports = 80\n${header}\nports = 81\n`)
    expect(says).toEqual([])
    expect(guestOf(settings, 106)).toMatchObject({ ports: [[80, 80]] })
    expect(guestOf(settings)).toMatchObject({ ports: [[81, 81]] })
  },
)

test('a key with brackets is no key, and changes nothing', async () => {
  const { settings, says } = await read('[nat]\nexternal[] = eth1\n')
  expect(says).toEqual([expect.stringMatching(/^0\.conf:2: warning\[setting-unknown\] .*'external\[\]'/)])
  expect(settings.external).toEqual(DEFAULT_SETTINGS.external)
})

test('a key without a value is an error, not "yes"', async () => {
  const { settings, says } = await read('[nat]\nallow-reserved\n')
  expect(says).toEqual([
    "0.conf:2: error[setting-value] bad value '' for 'allow-reserved': expected yes or no; the default holds",
  ])
  expect(settings.allowReserved).toBe(false)
})

test('/dev/null is an empty file, also behind a link', async () => {
  symlinkSync('/dev/null', fileOf('masked'))
  for (const file of ['/dev/null', fileOf('masked')])
    expect(await readSettings([file])).toMatchObject({ settings: DEFAULT_SETTINGS, diagnostics: [] })
})

test('the file of the node lies over the file of the cluster, key by key, and each bad line is told of its own file', async () => {
  const { settings, says } = await read(
    '[nat]\ninterval = 9\nhairpin = no\n[guest 107]\nports = 80\naddress = 10.10.10.7\n',
    '[nat]\nhairpin = x\ninterval = 7\ninterval = y\n[guest 107]\nports = 81\n',
  )
  expect(settings).toMatchObject({ intervalSeconds: 7, hairpin: 'no' })
  expect(guestOf(settings)).toMatchObject({ ports: [[81, 81]], address: '10.10.10.7' })
  expect(says.map((one) => one.slice(0, 8))).toEqual(['1.conf:2', '1.conf:4'])
})

describe('a file that cannot be used', () => {
  const spoil: Record<string, (file: string) => unknown> = {
    'a folder': (file) => mkdirSync(file),
    'no text': (file) => writeFileSync(file, Buffer.from([0xff, 0xfe, 0, 1])),
    'text with a zero byte': (file) => writeFileSync(file, '[nat]\nhairpin = no\0\n'),
    'larger than a megabyte': (file) => writeFileSync(file, '; '.repeat(2 ** 20)),
  }
  test.each(Object.entries(spoil))('%s: the old settings stay, and it is told', async (_, make) => {
    const [cluster, node] = [fileOf('0.conf'), fileOf('1.conf')]
    writeFileSync(cluster, '[nat]\nguest-ports = 20000-20999\n')
    writeFileSync(node, '[nat]\ninterval = 9\n')
    const before = await readSettings([cluster, node])
    rmSync(cluster)
    make(cluster)
    writeFileSync(node, '[nat]\ninterval = 8\n')
    const after = await readSettings([cluster, node], before.texts)
    expect(after.settings).toMatchObject({ guestPorts: [[20000, 20999]], intervalSeconds: 8 })
    expect(after.diagnostics).toMatchObject([{ code: 'settings-unusable', place: { file: cluster } }])
    expect((await readSettings([cluster, node], after.texts)).settings).toEqual(after.settings)
    await expect(readSettings([cluster, node])).rejects.toThrow(Unreadable)
  })
})

test('a mount that cannot be reached is told as such, not as bad settings', async () => {
  writeFileSync(fileOf('pve'), '')
  const paths = { node: 'pve1', config: fileOf('none'), stateDir: dir, runDir: dir }
  await expect(lookOnce({ ...paths, pveDir: fileOf('pve') })).rejects.toThrow(
    new Unreadable(`cannot read ${fileOf('pve')}: a part of the path is no folder (ENOTDIR)`),
  )
})
