/** Asks the kernel for links, addresses and default routes. */
import { toNetwork, type IpLink, type IpRoute, type Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import { NO_ANSWERS, type Answers } from './answers.ts'
import { must } from './exec.ts'

/** The kernel tells when any of it changes (monitor.ts); this is for what is lost on the way. */
const MAX_AGE_MS = 60_000

export async function readNetwork(settings: Settings, { ask }: Answers = NO_ANSWERS): Promise<Network> {
  const [links, v4, v6] = await Promise.all([
    ask('links', MAX_AGE_MS, () => ip<IpLink>('-d', 'addr', 'show')),
    ask('IPv4 routes', MAX_AGE_MS, () => ip<IpRoute>('-4', 'route', 'show', 'default')),
    ask('IPv6 routes', MAX_AGE_MS, () => ip<IpRoute>('-6', 'route', 'show', 'default')),
  ])
  return toNetwork(links, { 4: v4, 6: v6 }, settings)
}

async function ip<T>(...args: string[]): Promise<T[]> {
  const text = await must('ip', ['-j', ...args])
  return text.trim() === '' ? [] : (JSON.parse(text) as T[])
}
