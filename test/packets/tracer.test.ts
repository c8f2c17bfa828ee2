// A sample of random rule files through the kernel: it answers as the plain reading says (test/tracer proves the same of many more).
import fc from 'fast-check'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backends, createLab, Pvenat, type Answer, type Lab } from '../lab/index.ts'
import { specs } from '../tracer/generate.ts'
import { questions, toPacket } from '../tracer/packets.ts'
import { read, seenByUplinks, type Reading } from '../tracer/reading.ts'
import { filesOf, showSpec, type Spec } from '../tracer/spec.ts'
import type { Packet } from '../tracer/tracer.ts'
import { GRANTED_CONF, guestAt, HOSTS, INTERFACES, LAB, NODE, nodeAddress, route } from '../tracer/world.ts'
import { writeTree } from './tracertree.ts'

const FILES = 12

/** The same on every run; SEED tries others. */
const seed = Number(process.env['SEED'] ?? 20260917)
const sample = fc.sample(fc.tuple(specs, fc.array(questions, { minLength: 800, maxLength: 800 })), {
  seed,
  numRuns: FILES,
})

/** The internet knows a way to the internal networks, so that what is not translated is answered, too. */
const WAY_IN = [
  ...['10.10.10.0/24', '10.20.20.0/24'].map(
    (network) => `route add ${network} via ${nodeAddress('vmbr0', 4)}`,
  ),
  ...['fd10::/64', 'fd20::/64'].map((network) => `route add ${network} via ${nodeAddress('vmbr0', 6)}`),
]

interface Case {
  packet: Packet
  reading: Reading
}

/** Of many packets mostly those that a rule moves or stops. */
function casesOf(spec: Spec, asked: (typeof sample)[0][1]): Case[] {
  const all = new Map<string, Case>()
  for (const question of asked) {
    const packet = toPacket(question, spec)
    const reading = readHere(spec, packet)
    if (reading && packet.state === 'NEW') all.set(JSON.stringify(packet), { packet, reading })
  }
  const cases = [...all.values()]
  const kept = MOST.map(([kind, most]) => cases.filter((one) => kindOf(one) === kind).slice(0, most))
  return kept.flat()
}

/** Both uplinks of this node have a default route, so rules choose between them. */
function readHere(spec: Spec, packet: Packet): Reading | undefined {
  const reading = read(spec, packet)
  const [out, from] = [reading && route(reading.to), packet.in ?? '']
  const isLeaving = isUplink(out) && !isUplink(from) && from !== ''
  if (!reading || !isLeaving || reading.seenAs !== packet.source) return reading
  return { ...reading, seenAs: seenByUplinks(spec, packet) ?? reading.seenAs }
}

function isUplink(name: string | undefined): name is string {
  return INTERFACES.some((one) => one.external && one.name === name)
}

const MOST = [
  ['moved', 20],
  ['reject', 5],
  ['drop', 2],
  ['as it is', 8],
] as const

function kindOf({ packet, reading }: Case): (typeof MOST)[number][0] {
  if (reading.verdict !== 'pass') return reading.verdict
  return reading.to !== packet.destination || reading.seenAs !== packet.source ? 'moved' : 'as it is'
}

describe.each(backends)('random rules, %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat

  beforeAll(async () => {
    lab = await createLab(LAB)
    await lab.ip('inet', WAY_IN)
    tree = await mkdtemp(join(tmpdir(), 'pvenat-tree-'))
    await writeTree(tree)
    pvenat = new Pvenat(lab, backend, tree)
    await pvenat.configure(GRANTED_CONF)
  })
  afterAll(async () => {
    await lab.stop()
    await rm(tree, { recursive: true })
  })

  test.each(sample.map(([spec, asked], i) => [i, spec, asked] as const))(
    'file %i',
    async (i, spec, asked) => {
      for (const [name, text] of filesOf(spec, NODE)) await writeFile(join(tree, name), text)
      // A state of its own: what was in force before would keep its ports.
      const { stderr } = await pvenat.run('apply', '--state-dir', join(tree, `state-${i}`))
      const cases = casesOf(spec, asked)
      await serve(lab, cases)
      const answers = await Promise.all(cases.map(({ packet }) => ask(lab, packet)))
      const wrong = cases.flatMap(({ packet, reading }, i) => {
        const answer = answers[i] as Answer
        return isAsRead(answer, reading) ? [] : [JSON.stringify({ packet, reading, answer })]
      })
      if (wrong.length > 0) expect.fail([showSpec(spec), stderr, ...wrong].join('\n'))
    },
  )
})

/** Has somebody at the place where each packet should arrive. */
async function serve(lab: Lab, cases: readonly Case[]): Promise<void> {
  const served = cases.filter(({ reading }) => route(reading.to) !== 'local')
  const places = served.map(
    ({ packet, reading }) => [nameOf(reading.to), packet.proto, reading.port] as const,
  )
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
  // TCP over IPv6 goes on trying when the refusal comes while connect() is still at work, as it does on one machine.
  const mayBeSilent = verdict === 'drop' || (verdict === 'reject' && to.includes(':'))
  if (mayBeSilent && answer === 'nothing') return true
  // Nobody serves on the node itself.
  if (verdict === 'reject' || route(to) === 'local') return answer === 'refused'
  if (verdict === 'drop' || typeof answer === 'string') return false
  return answer.server === nameOf(to) && answer.port === port && answer.seenAs === seenAs
}

function nameOf(address: string): string {
  return HOSTS.includes(address) ? 'inet' : String(guestAt(address)?.vmid)
}
