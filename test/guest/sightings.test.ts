// Each source in its own format, from its file to sightings; and whatever the bytes, nothing throws.
import fc from 'fast-check'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { formatRange } from '../../src/address.ts'
import {
  parseEthers,
  parseIpam,
  parseLearnt,
  parseLeases,
  parseMacCache,
  parseNeighbours,
  type LearntTexts,
  type Sighting,
} from '../../src/guest/sightings.ts'
import { readLearnt } from '../../src/node/learnt.ts'
import { SDN_FILES } from '../../src/node/rounds.ts'
import type { PveFiles } from '../../src/node/tree.ts'
import { fixture, folders, NOW, pveDir } from './fixtures.ts'

/** `01:07=10.10.10.57`: the end of the MAC, or `vm102`, and what else is told. */
function brief({ mac, vmid, ip, dev }: Sighting): string {
  const who = [mac?.replace(/^BC:24:11:00:/, ''), vmid && `vm${vmid}`].filter(Boolean).join('/')
  return `${who}=${formatRange(ip)}${dev === undefined ? '' : `@${dev}`}`
}

describe('the real files', () => {
  test.each<[string, Sighting[], string[]]>([
    [
      'SDN IPAM: by MAC and VMID, no gateways, no placeholders',
      parseIpam(fixture('sdn/pve-ipam-state.json')),
      ['01:01/vm101=10.20.0.101', 'vm102=10.20.0.102', '01:03=10.20.0.103', '01:01/vm101=fd20::101'],
    ],
    ['the older ipam.db', parseIpam(fixture('older/priv/ipam.db')), ['01:09/vm109=10.21.0.9']],
    [
      'MAC cache',
      parseMacCache(fixture('sdn/mac-cache.json')),
      ['01:01=10.20.0.101', '01:01=fd20::101', '01:03=10.20.0.103'],
    ],
    [
      'ethers of a zone',
      parseEthers(fixture('dnsmasq.d/simple/ethers')),
      ['01:01=10.20.0.101', '01:01=fd20::101', '01:03=10.20.0.103', '01:06=fd20::106'],
    ],
    [
      'leases of a zone: endless, none of DHCPv6',
      parseLeases(fixture('misc/dnsmasq.simple.leases'), NOW),
      ['01:01=10.20.0.101', '01:03=10.20.0.103'],
    ],
    [
      'leases of dnsmasq: no expired ones, of several the last, Ethernet only',
      parseLeases(fixture('misc/dnsmasq.leases'), NOW),
      ['01:07=10.10.10.57', '01:0A=10.10.10.61'],
    ],
    [
      'neighbours: those that answered, none link-local',
      parseNeighbours(fixture('neigh.json')),
      [
        '01:07=10.10.10.57@vmbr1',
        '01:08=10.10.10.58@vmbr1',
        '01:0C=10.10.10.63@vmbr1',
        '01:0D=10.10.10.64@vmbr1',
        '01:0E=10.10.10.65@vmbr1',
        '02:00:00:00:00:01=203.0.113.1@vmbr0',
        '01:07=fd10::57@vmbr1',
      ],
    ],
  ])('%s', (_, sightings, expected) => {
    expect(sightings.map(brief)).toEqual(expected)
  })
})

test('two leases of one MAC that end together are both told', () => {
  const lines = ['0 bc:24:11:00:01:07 10.10.10.1 * *', '0 bc:24:11:00:01:07 10.10.10.2 * *']
  expect(parseLeases(lines.join('\n'), NOW).map(brief)).toEqual(['01:07=10.10.10.1', '01:07=10.10.10.2'])
})

describe('broken text says nothing', () => {
  test.each([
    '',
    'null',
    '[]',
    '{"zones":',
    '{"zones":[1]}',
    '{"zones":{"z":{"subnets":{"10.0.0.0/8":{"ips":{"10.0.0.1":7,"x":{"vmid":"101"},"10.0.0.2":{"vmid":"1e2"},"10.0.0.3":{"gateway":1,"mac":"BC:24:11:00:01:01"}}}}}}}',
    '{"macs":{"BC:24:11:00:01:01":{"ip4":["10.0.0.1"]},"bad":{"ip4":"10.0.0.1"}}}',
    '[{"dst":"10.0.0.1","dev":"vmbr1","lladdr":"bc:24:11:00:01:01","state":"REACHABLE"}]',
    '[{"dst":"10.0.0.1","lladdr":"bc:24:11:00:01:01","state":["REACHABLE"]}]',
    'BC:24:11:00:01:01,10.0.0.1/24',
    'soon bc:24:11:00:01:01 10.0.0.1 * *',
    '0 bc:24:11:00:01:01',
  ])('%s', (text) => {
    const texts: LearntTexts = {
      ipam: [text],
      'mac-cache': [text],
      ethers: [text],
      lease: [text],
      neighbour: [text],
    }
    expect(parseLearnt(texts, NOW).sightings).toEqual([])
  })
})

test('no text throws, and every sighting says of whom', () => {
  const value = fc.constantFrom('10.0.0.1', 'fd00::1', 'fe80::1', 'BC:24:11:00:01:01', '101', 101, 1, null, ['STALE'], 'vmbr1') // prettier-ignore
  const ip = fc.constantFrom('10.0.0.1', 'fd00::1', 'fe80::1', '10.0.0', '__proto__')
  const mac = fc.constantFrom('BC:24:11:00:01:01', 'bc:24:11:00:01:02', '01-bc:24:11:00:01:01', '*')
  const fields = fc.dictionary(
    fc.constantFrom('mac', 'vmid', 'gateway', 'ip4', 'ip6', 'dst', 'dev', 'lladdr', 'state', '__proto__'),
    value,
  )
  const json = fc.oneof(
    fc.dictionary(ip, fields).map((ips) => ({ zones: { z: { subnets: { s: { ips } } } } })),
    fc.dictionary(mac, fields).map((macs) => ({ macs })),
    fc.array(fields),
    fc.jsonValue(),
  )
  const line = fc
    .tuple(fc.constantFrom('0', '1', '1800000000', 'duid', '-1'), mac, ip)
    .map((words) => `${words.join(' ')}\n`)
  const piece = fc.oneof(value.map(String), fc.constantFrom(' ', ',', '[', ']', '\n', '0 ', 'duid '), fc.string({ maxLength: 4 })) // prettier-ignore
  const text = fc.oneof(
    json.map((one) => JSON.stringify(one)),
    fc.array(line, { maxLength: 5 }).map((all) => all.join('')),
    fc.array(piece, { maxLength: 30 }).map((all) => all.join('')),
    fc.string({ unit: 'binary' }),
  )
  let told = 0
  fc.assert(
    fc.property(text, (one) => {
      const texts: LearntTexts = {
        ipam: [one],
        'mac-cache': [one],
        ethers: [one],
        lease: [one],
        neighbour: [one],
      }
      for (const { mac, vmid } of parseLearnt(texts, NOW).sightings) {
        told++
        expect(mac ?? vmid).toBeDefined()
      }
    }),
    { numRuns: 3000 },
  )
  expect(told).toBeGreaterThan(100)
})

/** What the reader sends of a folder. */
function sdnFiles(dir: string): PveFiles {
  const there = Object.values(SDN_FILES).filter((name) => existsSync(join(dir, name)))
  return new Map(there.map((name) => [name, readFileSync(join(dir, name), 'utf8')]))
}

describe('reading', () => {
  let empty: string
  beforeAll(async () => {
    empty = await mkdtemp(join(tmpdir(), 'pvenat-learnt-'))
    return () => rm(empty, { recursive: true })
  })

  test('every file there is', async () => {
    expect(await readLearnt(sdnFiles(pveDir), folders)).toMatchObject({
      ipam: [fixture('sdn/pve-ipam-state.json')],
      'mac-cache': [fixture('sdn/mac-cache.json')],
      ethers: [fixture('dnsmasq.d/simple/ethers')],
      lease: [fixture('misc/dnsmasq.leases'), fixture('misc/dnsmasq.simple.leases')],
    })
  })

  test('what is missing says nothing and was not consulted', async () => {
    const gone = join(empty, 'gone')
    const texts = { ...(await readLearnt(sdnFiles(gone), { dnsmasq: gone, leases: gone })), neighbour: [] }
    expect(parseLearnt(texts, NOW)).toEqual({ sightings: [], consulted: [] })
  })

  test('the older ipam.db counts while there is no newer file', async () => {
    const older = fileURLToPath(new URL('../../fixtures/learnt/older', import.meta.url))
    expect((await readLearnt(sdnFiles(older), folders)).ipam).toEqual([fixture('older/priv/ipam.db')])
  })

  test('a lease file caught between truncating and writing is read again', { retry: 3 }, async () => {
    const file = join(empty, 'dnsmasq.leases')
    await writeFile(file, '')
    const reading = readLearnt(sdnFiles(pveDir), { dnsmasq: empty, leases: empty })
    await delay(5)
    await writeFile(file, fixture('misc/dnsmasq.leases'))
    expect((await reading).lease).toEqual([fixture('misc/dnsmasq.leases')])
  })
})
