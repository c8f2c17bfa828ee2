/**
 * The kernel's own answer to which way a packet takes. Explaining is a function of values, so it names its questions, ends where one is
 * open, and is asked again with the answers (commands/explain.ts).
 */
import { formatRange as show, type Range } from '../address.ts'
import { hex } from '../ruleset/uplinks.ts'
import type { Packet } from './packet.ts'
import type { Trail } from './step.ts'
import type { World } from './world.ts'

interface Hop {
  to: Range
  from?: Range
  /** The interface by which it came; undefined for the node's own. */
  iif?: string | undefined
  /** 0 for none. */
  mark?: number
  /** What routing rules of others may ask for besides. */
  packet?: Pick<Packet, 'proto' | 'sport' | 'dport'>
}

interface KernelWay {
  /** Undefined: the kernel has no way for it. */
  dev: string | undefined
  /** The command that tells it. */
  told: string
}

/** Ends the way where the kernel does not answer. */
export function kernelWay({ askWay, view }: World, hop: Hop, trail: Trail): KernelWay {
  const { to, from, iif, mark = 0, packet } = hop
  const asksPorts = view.network.foreign?.[to.family].rules.some((rule) => rule.asksPorts)
  const question = [
    show(to),
    ...(from ? ['from', show(from)] : []),
    ...(iif === undefined ? [] : ['iif', iif]),
    ...(mark === 0 ? [] : ['mark', hex(mark)]),
    ...(asksPorts && packet ? selectors(packet) : []),
  ].join(' ')
  const told = `ip route get ${question}`
  const answer = askWay(question)
  return answer
    ? { dev: answer.dev, told }
    : trail.giveUp(`Which way it takes to ${show(to)} the kernel did not tell.`, told)
}

/** The kernel takes no other protocols there. */
function selectors({ proto, sport, dport }: Pick<Packet, 'proto' | 'sport' | 'dport'>): string[] {
  if (proto !== 'tcp' && proto !== 'udp') return []
  const ports = [['sport', sport] as const, ['dport', dport] as const]
  return [
    'ipproto',
    proto,
    ...ports.flatMap(([name, port]) => (port === undefined ? [] : [name, String(port)])),
  ]
}

/** The interface by which the node itself reaches an address; undefined where it has no way. */
export function wayTo(world: World, to: Range, trail: Trail): string | undefined {
  return kernelWay(world, { to }, trail).dev
}
