/** Packets at random, mostly aimed at what the rules name and at the edges of it. */
import fc from 'fast-check'
import type { Line, Ports, Proto, Spec } from './spec.ts'
import type { Packet } from './tracer.ts'
import { EXTERNAL, familyOf, HOSTS, INNER, networkOf, nodeAddress, route } from './world.ts'

/** Numbers that choose: what there is to choose from depends on the rules. */
export interface Question {
  from: number
  to: number
  rule: number
  port: number
  proto: Proto
  /** Asks what the rule is for; else anything. */
  isAimed: boolean
  /** The guest that the rule leads to asks itself. */
  isSelf: boolean
  isOld: boolean
}

const oneIn = (n: number): fc.Arbitrary<boolean> => fc.nat(n - 1).map((pick) => pick === n - 1)

export const questions: fc.Arbitrary<Question> = fc.record({
  from: fc.nat(),
  to: fc.nat(),
  rule: fc.nat(),
  port: fc.nat(),
  proto: fc.constantFrom<Proto>('tcp', 'udp'),
  isAimed: oneIn(6).map((is) => !is),
  isSelf: oneIn(6),
  isOld: oneIn(20),
})

/** A host, a guest, or the node. */
const NODE = 'node'
const BRIDGED = '203.0.113.50'
const V4_HOSTS = HOSTS.filter((host) => familyOf(host) === 4)
const ASKERS = [...V4_HOSTS, ...HOSTS, ...INNER, BRIDGED, NODE]

export function toPacket(question: Question, spec: Spec): Packet {
  const aim = question.isAimed ? aimOf(question, spec) : {}
  const self = question.isSelf ? aim.inner : undefined
  const askers = ASKERS.filter((one) => one === NODE || !aim.family || familyOf(one) === aim.family)
  const from = self ?? pick(aim.isEgress ? INNER : askers, question.from)
  const known = targetsOf(from).filter((one) => !aim.targets || aim.targets.includes(one))
  const destination = pick(known.length > 0 ? known : targetsOf(from), question.to)
  const rest = {
    destination,
    sport: 40000,
    proto: aim.proto ?? question.proto,
    dport: pick(aim.ports ?? [22, 443, 2003, 2010], question.port),
    state: question.isOld ? ('ESTABLISHED' as const) : ('NEW' as const),
  }
  if (from === NODE) return { ...rest, source: nodeSource(destination) }
  return { ...rest, in: entryOf(from, destination), source: from }
}

interface Aim {
  family?: 4 | 6
  targets?: readonly string[]
  ports?: number[]
  proto?: Proto
  inner?: string
  isEgress?: boolean
}

function aimOf({ rule, port, to }: Question, spec: Spec): Aim {
  const all = [
    ...owned(spec).flatMap(({ lines, inner }) => lines.map((line) => ({ line, inner }))),
    ...[spec.cluster, spec.host, ...Object.values(spec.groups)]
      .flat()
      .map((line) => ({ line, inner: undefined })),
  ].filter(({ line }) => line.kind !== 'group' && line.kind !== 'hole')
  if (all.length === 0) return {}
  const { line, inner } = pick(all, rule)
  if (line.kind === 'egress') return { ...flowAim(line), targets: HOSTS, isEgress: true }
  if (line.kind === 'block') return { ...flowAim(line), targets: [...HOSTS, ...INNER] }
  if (line.kind === 'group') return {}
  if (line.kind === 'full') {
    const own = line.inner?.address ?? inner
    const isAsker = INNER.includes(own ?? '') && port % 3 === 0
    // In, or out of the guest.
    return isAsker ? { targets: HOSTS, isEgress: true } : { targets: [line.address], ...innerAim(own) }
  }
  if (line.kind !== 'forward') return {}
  const pair = pick(line.pairs, port)
  const own = line.inner?.address ?? inner
  const aim: Aim = {
    ports: edges([pair.external]),
    proto: pick(pair.protos, to),
    targets: line.address === undefined ? EXTERNAL : [line.address],
  }
  return { ...aim, ...innerAim(own) }
}

function owned(spec: Spec): { lines: Line[]; inner: string | undefined }[] {
  return Object.entries(spec.guests).map(([vmid, { lines }]) => ({
    lines,
    inner: INNER.find((address) => address.endsWith(vmid)),
  }))
}

function innerAim(own: string | undefined): Aim {
  return own === undefined ? {} : { inner: own, family: familyOf(own) }
}

function flowAim({ proto, ports }: { proto?: Proto; ports?: Ports[] }): Aim {
  return { ...(proto ? { proto } : {}), ...(ports ? { ports: edges(ports) } : {}) }
}

/** First and last ports twice, and their neighbours. */
function edges(list: readonly Ports[]): number[] {
  return list.flatMap(([lo, hi]) => [lo, hi, lo, hi, lo - 1, hi + 1])
}

function pick<T>(list: readonly T[], number: number): T {
  return list[number % list.length] as T
}

/** Whom an asker can ask by way of the node. */
function targetsOf(from: string): string[] {
  if (from === NODE) return [...EXTERNAL, ...HOSTS]
  const elsewhere = INNER.filter((other) => networkOf(other) !== networkOf(from))
  const others = INNER.includes(from)
    ? [...HOSTS, ...elsewhere]
    : from === BRIDGED
      ? HOSTS
      : [...INNER, BRIDGED]
  return [...EXTERNAL, ...others].filter((one) => {
    if (familyOf(one) !== familyOf(from)) return false
    // The router of a bridged guest is the internet itself, and leads to nothing but its own hosts.
    return from !== BRIDGED || route(one) === 'vmbr0' || networkOf(one)?.name === 'vmbr0'
  })
}

/** What comes from the internet arrives by the interface that has the address, or by the default route. */
function entryOf(from: string, destination: string): string {
  const own = networkOf(from)
  if (own && !own.external) return own.name
  const aimed = networkOf(destination)
  return from !== BRIDGED && aimed?.external ? aimed.name : 'vmbr0'
}

/** The kernel calls an own IPv6 address from itself, an IPv4 one from the first of its interface. */
function nodeSource(destination: string): string {
  const family = familyOf(destination)
  const out = route(destination)
  if (out !== 'local') return nodeAddress(out, family)
  return family === 6 ? destination : nodeAddress(networkOf(destination)?.name ?? '', family)
}
