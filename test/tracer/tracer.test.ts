// One model of overlaps: what a plain reading of the rules says of a packet is what the rendered chains do with it.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { specs } from './generate.ts'
import { questions, toPacket, type Question } from './packets.ts'
import { read } from './reading.ts'
import { filesOf, showSpec, type Spec } from './spec.ts'
import { trace, type Packet } from './tracer.ts'
import { guestAt, lookAt, NODE, nodeAddress, route } from './world.ts'

const numRuns = Number(process.env['RUNS'] ?? 2000)
const PACKETS = 20
const given = process.env['SEED'] === undefined ? {} : { seed: Number(process.env['SEED']) }

const surroundings = {
  ...{ route, nodeAddress },
  firewallBridge(address: string): string | undefined {
    const guest = guestAt(address)
    return guest?.firewall ? `fwbr${guest.vmid}i0` : undefined
  },
}

function differences(spec: Spec, packets: readonly Packet[]): string[] {
  const { ruleset } = compile(lookAt(filesOf(spec, NODE)))
  return packets.flatMap((packet) => {
    const reading = read(spec, packet)
    if (!reading) return []
    const { mustAccept, ...said } = reading
    const { accepted, ...done } = trace(ruleset, packet, surroundings)
    const isAsRead = JSON.stringify(said) === JSON.stringify(done)
    const isLetIn = accepted || !mustAccept || surroundings.firewallBridge(said.to) === undefined
    if (isAsRead && isLetIn) return []
    return [
      `${JSON.stringify(packet)}\n  read: ${JSON.stringify({ ...said, mustAccept })}\n  done: ${JSON.stringify({ ...done, accepted })}`,
    ]
  })
}

test(
  `the chains of ${numRuns} random rule files do what a plain reading says`,
  () => {
    const asked = fc.array(questions, { minLength: PACKETS, maxLength: PACKETS })
    const property = fc.property(specs, asked, (spec, all) => differencesOf(spec, all).length === 0)
    const { failed, seed, counterexample } = fc.check(property, { numRuns, ...given })
    if (!failed) return
    const [spec, all] = counterexample ?? []
    if (!spec || !all) throw new Error('no counterexample')
    const again = `SEED=${seed} RUNS=${numRuns}`
    expect.fail([again, showSpec(spec), ...differencesOf(spec, all)].join('\n'))
  },
  numRuns * 60 + 60_000,
)

function differencesOf(spec: Spec, all: readonly Question[]): string[] {
  return differences(
    spec,
    all.map((question) => toPacket(question, spec)),
  )
}
