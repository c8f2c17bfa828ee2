/** The pair of interfaces for guests that reach themselves; why it exists stands in ruleset/self-hairpin.ts. */
import type { Family } from '../address.ts'
import { LOOP_IN, LOOP_NETWORKS, LOOP_OUT } from '../ruleset/self-hairpin.ts'
import { must, run } from './exec.ts'

/**
 * One address for both ends: without ARP the kernel puts an interface's own address into the frames that it sends, and so the
 * other end takes them for its own. No neighbour entry is needed, for any address.
 */
const MAC = '02:70:76:6e:61:74'

/** Whether both ends are there and up, with the routes of these families; with none, whether anything of it is there. */
export async function hasLoop(families: readonly Family[]): Promise<boolean> {
  const link = await run('ip', ['-o', 'link', 'show', 'dev', LOOP_OUT])
  if (link.code !== 0 || families.length === 0) return link.code === 0
  const ends = [LOOP_OUT, LOOP_IN].map((name) => `link show dev ${name} up`)
  const [{ stdout }, ...areRouted] = await Promise.all([
    run('ip', ['-o', '-force', '-batch', '-'], lines(ends)),
    ...families.map(hasRoutes),
  ])
  return [LOOP_OUT, LOOP_IN].every((name) => stdout.includes(`: ${name}@`)) && !areRouted.includes(false)
}

/** Whether the routes are in the table main. Routing rules of others may lead elsewhere, which making the pair anew does not change. */
async function hasRoutes(family: Family): Promise<boolean> {
  const wanted = routes(family)
  const asks = wanted.map(({ to }) => `route show exact ${to}`)
  const { stdout } = await run('ip', [`-${family}`, '-o', '-force', '-batch', '-'], lines(asks))
  const answers = stdout.split('\n')
  return wanted.every(({ to, dev }) => answers.some((line) => line.startsWith(`${to} dev ${dev} `)))
}

/** Makes the pair with the routes of these families; takes it away when there are none. */
export async function setLoop(families: readonly Family[]): Promise<void> {
  await run('ip', ['link', 'delete', 'dev', LOOP_OUT])
  if (families.length === 0) return
  try {
    await must('ip', ['-batch', '-'], batch(families))
  } catch (error) {
    // Half a pair would keep the whole one from being made.
    await run('ip', ['link', 'delete', 'dev', LOOP_OUT])
    throw error
  }
}

function batch(families: readonly Family[]): string {
  const pair = `link add name ${LOOP_OUT} address ${MAC} type veth peer name ${LOOP_IN} address ${MAC}`
  const ends = [LOOP_OUT, LOOP_IN].flatMap((name) => [
    `link set dev ${name} addrgenmode none`,
    `link set dev ${name} arp off up`,
  ])
  const all = families.flatMap((family) =>
    routes(family).map(({ to, dev }) => `route replace ${to} dev ${dev}`),
  )
  return lines([pair, ...ends, ...all])
}

function routes(family: Family): { to: string; dev: string }[] {
  const { targets, source } = LOOP_NETWORKS[family]
  return [
    { to: targets, dev: LOOP_OUT },
    { to: source, dev: LOOP_IN },
  ]
}

function lines(list: readonly string[]): string {
  return list.map((line) => `${line}\n`).join('')
}
