/** Asks the kernel for links, addresses and default routes. */
import { toNetwork, type IpLink, type IpRoute } from '../nat/network.ts'
import type { Network } from '../nat/view.ts'
import type { Settings } from '../settings.ts'
import { must } from './exec.ts'

export async function readNetwork(settings: Settings): Promise<Network> {
  const [links, v4, v6] = await Promise.all([
    ip<IpLink>('-d', 'addr', 'show'),
    ip<IpRoute>('-4', 'route', 'show', 'default'),
    ip<IpRoute>('-6', 'route', 'show', 'default'),
  ])
  return toNetwork(links, { 4: v4, 6: v6 }, settings)
}

async function ip<T>(...args: string[]): Promise<T[]> {
  const text = await must('ip', ['-j', ...args])
  return text.trim() === '' ? [] : (JSON.parse(text) as T[])
}
