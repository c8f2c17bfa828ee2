// Explain says of random packets through random rules what the tracer, another reading of the same chains, finds.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseIp, type Range } from '../../src/address.ts'
import { explain } from '../../src/explain/explain.ts'
import { endpoint } from '../../src/explain/packet.ts'
import type { World } from '../../src/explain/world.ts'
import { SEED } from '../seed.ts'
import { specs } from '../tracer/generate.ts'
import { questions, toPacket } from '../tracer/packets.ts'
import { filesOf, showSpec } from '../tracer/spec.ts'
import { trace, type Packet } from '../tracer/tracer.ts'
import { INNER, NODE, route, SURROUNDINGS } from '../tracer/world.ts'
import { worldAt } from './world.ts'

const numRuns = Number(process.env['RUNS'] ?? 150)
const PACKETS = 10

const ip = (text: string): Range => parseIp(text) as Range

/** What is wrong with the explanation of a packet; '' when nothing is. */
function wrong(world: World, packet: Packet): string {
  // Answers, and what no bridge would route, are not asked about.
  const isNeighbour = route(packet.destination) === packet.in
  // It cannot know of a host of one uplink that calls by another.
  const isAstray = packet.in !== undefined && route(packet.source) !== packet.in
  if (packet.state !== 'NEW' || isNeighbour || isAstray) return ''
  const { verdict, to, port, seenAs } = trace(world.ruleset, packet, SURROUNDINGS)
  const { gets, steps } = explain(world, {
    family: ip(packet.source).family,
    proto: packet.proto,
    sport: packet.sport,
    dport: packet.dport,
    source: ip(packet.source),
    destination: ip(packet.destination),
  })
  const text = steps.map(({ sentence }) => sentence).join('\n')
  const said = `${JSON.stringify({ packet, verdict, to, port, seenAs })}\n${gets}\n${text}`
  if (verdict !== 'pass') return gets === 'stopped' ? '' : said
  const isTranslated = to !== packet.destination
  const at = endpoint(ip(to), port)
  if (isTranslated && !text.includes(`sends it to ${at}`)) return said
  if (isTranslated && INNER.includes(to) && gets !== 'through') return said
  if (!isTranslated && text.includes('The forward of')) return said
  if (
    gets === 'through' &&
    seenAs !== packet.source &&
    !new RegExp(`seen as [^,]*${seenAs.replaceAll('.', '\\.')}`).test(text)
  )
    return said
  return gets === 'through' && seenAs === packet.source && text.includes('seen as') ? said : ''
}

test(
  `${numRuns} random rule files`,
  () => {
    const asked = fc.array(questions, { minLength: PACKETS, maxLength: PACKETS })
    const property = fc.property(specs, asked, (spec, all) => {
      const world = worldAt(filesOf(spec, NODE))
      const bad = all.map((question) => wrong(world, toPacket(question, spec))).filter((text) => text !== '')
      if (bad.length > 0) expect.fail([showSpec(spec), ...bad].join('\n'))
    })
    fc.assert(property, { numRuns, seed: SEED })
  },
  numRuns * 200 + 60_000,
)
