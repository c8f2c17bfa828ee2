/** Ports and protocols of the node itself: services that listen, ports that other programs publish, protocols of tunnels. */
import type { Family } from '../address.ts'
import { foreignNat, type ForeignNat } from '../facts/foreign.ts'
import { isOfIptables, parseNftables, type Nftables } from '../facts/nftables.ts'
import { parseRaw, parseXfrm, publishedPorts, usedProtocols } from '../facts/published.ts'
import { field, listOf, parseJson, textOf } from '../json.ts'
import type { Socket } from '../nat/sockets.ts'
import { listeningPorts, type NodePort } from '../nat/node-ports.ts'
import type { Network } from '../network.ts'
import { savedBy } from './backend.ts'
import { NOT_STARTED, run } from './exec.ts'
import { readProc } from './listeners.ts'
import { FOREIGN_TIMEOUT_MS, type Answers } from './answers.ts'

/** A question to a resolver, and its socket, lasts less long. */
const SERVICE_MS = 5000

/** The ports in use now. A UDP socket of a process counts once it was there in two looks five seconds apart; `apply` and others that look once count all. */
export async function readNodePorts(
  sockets: readonly Socket[],
  network: Network,
  answers: Answers,
): Promise<NodePort[]> {
  const [rules, ipsec = []] = await Promise.all([
    readForeign(answers),
    answers.askSeldom('IPsec', async () => {
      const { code, stdout } = await run('ip', ['xfrm', 'state'])
      return isUnknown(code) ? undefined : parseXfrm(stdout)
    }),
  ])
  const isSettled = ({ proto, isKernel }: Socket): boolean => proto === 'tcp' || isKernel === true
  const young = sockets.filter((socket) => !isSettled(socket))
  const ages = answers.ages(young.map(keyOf))
  const lasting = young.filter((socket) => (ages.get(keyOf(socket)) ?? 0) >= SERVICE_MS)
  const isOnce = [...ages.values()].includes(Infinity)
  const raw = [...parseRaw(readProc('net/raw')), ...parseRaw(readProc('net/raw6'))]
  return [
    ...listeningPorts(sockets.filter(isSettled)),
    ...listeningPorts(lasting).map((port): NodePort => (isOnce ? { ...port, isFleeting: true } : port)),
    ...publishedPorts(rules, network),
    ...usedProtocols(network.tunnels, raw, ipsec),
  ]
}

function keyOf({ proto, port, inode }: Socket): string {
  return `${proto} ${port} ${inode}`
}

/** A missing program counts as an empty answer; the answer of a program that fails is unknown. */
const isUnknown = (code: number): boolean => code !== 0 && code !== NOT_STARTED

/** Each program is asked by itself: one that cannot read its rules, or takes too long, keeps its last answer. */
async function readForeign(answers: Answers): Promise<ForeignNat[]> {
  const save = (program: string): Promise<string> => ask(answers, program, ['-t', 'nat'])
  const [legacy, nft] = await Promise.all([savedBy('legacy', save), savedBy('nft', save)])
  return foreignNat({ tables: { legacy, nft }, nftables: await readNative(nft, answers) })
}

/** The output of a program, or its last output. */
async function ask(answers: Answers, program: string, args: readonly string[]): Promise<string> {
  const text = await answers.askSeldom([program, ...args].join(' '), async () => {
    const { code, stdout } = await run(program, args, '', { timeoutMs: FOREIGN_TIMEOUT_MS })
    return isUnknown(code) ? undefined : stdout
  })
  return text ?? ''
}

/** Tables of nft itself, each by itself: the whole ruleset holds those of iptables, too. */
async function readNative(saved: Record<Family, string>, answers: Answers): Promise<Nftables> {
  const tables = await ask(answers, 'nft', ['-j', 'list', 'tables'])
  const names = listOf(field(parseJson(tables), 'nftables')).flatMap((one) => {
    const table = field(one, 'table')
    const [family, name] = [textOf(field(table, 'family')), textOf(field(table, 'name'))]
    if (!['ip', 'ip6', 'inet'].includes(family)) return []
    return isOfIptables(family, name, saved) || OTHER_TABLES.includes(name) ? [] : [[family, name] as const]
  })
  const all = await Promise.all(
    names.map(async ([family, name]) =>
      parseNftables(await ask(answers, 'nft', ['-j', 'list', 'table', family, name]), saved),
    ),
  )
  return {
    chains: all.flatMap(({ chains }) => chains),
    sets: new Map(all.flatMap(({ sets }) => [...sets])),
  }
}

/** Tables of iptables in which nothing is translated. */
const OTHER_TABLES = ['raw', 'mangle', 'filter', 'security']
