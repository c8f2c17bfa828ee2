/** The pair of interfaces for guests that reach themselves; why it exists stands in ruleset/loop.ts. */
import { FAMILIES } from '../address.ts'
import { LOOP_IN, LOOP_NETWORKS, LOOP_OUT } from '../ruleset/loop.ts'
import { must, run } from './exec.ts'

/**
 * One address for both ends: without ARP the kernel puts an interface's own address into the frames that it sends, and so the
 * other end takes them for its own. No neighbour entry is needed, for any address.
 */
const MAC = '02:70:76:6e:61:74'

/** Whether both ends are there and up. */
export async function hasLoop(): Promise<boolean> {
  const { code, stdout } = await run('ip', ['-o', 'link', 'show', 'dev', LOOP_OUT, 'up'])
  return code === 0 && stdout.includes(`${LOOP_OUT}@${LOOP_IN}`)
}

export async function setLoop(wanted: boolean): Promise<void> {
  await run('ip', ['link', 'delete', 'dev', LOOP_OUT])
  if (!wanted) return
  try {
    await must('ip', ['-batch', '-'], batch())
  } catch (error) {
    // Half a loop would pass for a whole one at the next look.
    await run('ip', ['link', 'delete', 'dev', LOOP_OUT])
    throw error
  }
}

function batch(): string {
  const ends = [LOOP_OUT, LOOP_IN].flatMap((name) => [
    `link set dev ${name} addrgenmode none`,
    `link set dev ${name} arp off up`,
  ])
  const routes = FAMILIES.flatMap((family) => [
    `route replace ${LOOP_NETWORKS[family].targets} dev ${LOOP_OUT}`,
    `route replace ${LOOP_NETWORKS[family].source} dev ${LOOP_IN}`,
  ])
  const pair = `link add name ${LOOP_OUT} address ${MAC} type veth peer name ${LOOP_IN} address ${MAC}`
  return [pair, ...ends, ...routes].map((line) => `${line}\n`).join('')
}
