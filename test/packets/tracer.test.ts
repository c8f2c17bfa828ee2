// A sample of random rule files through the kernel: it answers as the plain reading says (test/tracer proves the same of many more).
import fc from 'fast-check'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backends, createLab, Pvenat, type Answer, type Lab } from '../lab/index.ts'
import { specs } from '../tracer/generate.ts'
import { questions, toPacket } from '../tracer/packets.ts'
import { read, type Reading } from '../tracer/reading.ts'
import { filesOf, showSpec, type Spec } from '../tracer/spec.ts'
import type { Packet } from '../tracer/tracer.ts'
import { configOf, GUESTS, guestAt, HOSTS, LAB, NODE } from '../tracer/world.ts'

const FILES = 12
const PACKETS = 24

/** The same on every run; SEED tries others. */
const seed = Number(process.env['SEED'] ?? 20260917)
const sample = fc.sample(fc.tuple(specs, fc.array(questions, { minLength: 1500, maxLength: 1500 })), {
  ...{ seed, numRuns: FILES },
})

interface Case {
  packet: Packet
  reading: Reading
}

/** Of many packets those that a rule decides: the kernel would take long over the others, which nobody answers. */
function casesOf(spec: Spec, asked: (typeof sample)[0][1]): Case[] {
  const cases = new Map<string, Case>()
  for (const question of asked) {
    const packet = toPacket(question, spec)
    const reading = read(spec, packet)
    if (!reading || packet.state !== 'NEW') continue
    const isMoved = reading.to !== packet.destination || reading.seenAs !== packet.source
    if (isMoved || reading.verdict === 'reject')
      cases.set(JSON.stringify({ ...packet, sport: 0 }), { packet, reading })
  }
  return [...cases.values()].slice(0, PACKETS)
}

describe.each(backends)('random rules, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat

  beforeAll(async () => {
    lab = await createLab(LAB)
    tree = await mkdtemp(join(tmpdir(), 'pvenat-tree-'))
    await writeTree(tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure()
  })
  afterAll(async () => {
    await lab.stop()
    await rm(tree, { recursive: true })
  })

  test.each(sample.map(([spec, asked], i) => [i, spec, asked] as const))(
    'file %i',
    async (_, spec, asked) => {
      for (const [name, text] of filesOf(spec, NODE)) await writeFile(join(tree, name), text)
      const { stderr } = await pvenat.run('apply')
      const cases = casesOf(spec, asked)
      await serve(lab, cases)
      const wrong = await Promise.all(
        cases.map(async ({ packet, reading }) => {
          const answer = await ask(lab, packet)
          return isAsRead(answer, reading) ? [] : [{ packet, reading, answer }]
        }),
      )
      expect(wrong.flat(), showSpec(spec) + stderr).toEqual([])
    },
  )
})

async function writeTree(dir: string): Promise<void> {
  const ids = GUESTS.map(({ vmid, kind }) => [vmid, { node: NODE, type: kind, version: 1 }])
  const files = new Map([
    ['.vmlist', JSON.stringify({ version: 1, ids: Object.fromEntries(ids) as unknown })],
    ['firewall/cluster.fw', ''],
    ...GUESTS.map((guest) => {
      const folder = guest.kind === 'qemu' ? 'qemu-server' : 'lxc'
      return [`nodes/${NODE}/${folder}/${guest.vmid}.conf`, configOf(guest)] as const
    }),
  ])
  for (const [name, text] of files) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), text)
  }
  await symlink(`nodes/${NODE}`, join(dir, 'local'))
}

/** Has somebody at the place where each packet should arrive. */
async function serve(lab: Lab, cases: readonly Case[]): Promise<void> {
  const places = cases.map(({ packet, reading }) => [nameOf(reading.to), packet.proto, reading.port] as const)
  const distinct = new Map(places.map((place) => [place.join(), place]))
  await Promise.all([...distinct.values()].map(([name, proto, port]) => lab.serve(name, proto, port)))
}

function ask(lab: Lab, { in: by, source, destination, proto, dport }: Packet): Promise<Answer> {
  const endpoint = destination.includes(':') ? `[${destination}]:${dport}` : `${destination}:${dport}`
  // The node chooses its own address by itself, as the reading supposes.
  if (by === undefined) return lab.ask('pve', proto, endpoint)
  return lab.ask(nameOf(source), proto, endpoint, { from: source })
}

function isAsRead(answer: Answer, { to, port, seenAs, verdict }: Reading): boolean {
  if (typeof answer === 'string') return verdict === 'reject' && answer === 'refused'
  return (
    verdict === 'pass' && answer.server === nameOf(to) && answer.port === port && answer.seenAs === seenAs
  )
}

function nameOf(address: string): string {
  return HOSTS.includes(address) ? 'inet' : String(guestAt(address)?.vmid)
}
