/** Connections through a forward that nobody touches, one after the other. */
import { fileURLToPath } from 'node:url'
import type { Lab, Running } from '../lab/index.ts'
import { EXTERNAL, type BenchForward } from './generate.ts'

const script = fileURLToPath(new URL('connect.pl', import.meta.url))

export interface Asked {
  made: number
  seconds: number
  failures: string[]
}

/** Has a server behind a forward, in the guest's namespace. */
export async function serve(lab: Lab, { vmid, port }: BenchForward): Promise<void> {
  // A client's port may come again; what conntrack knows of the last connection from it must be gone by then.
  await lab.ns('pve').setSysctls({ 'net/netfilter/nf_conntrack_tcp_timeout_close': 1 })
  await lab.ns('inet').setSysctls({ 'net/ipv4/ip_local_port_range': '1024 65535' })
  await lab.spawn(String(vmid), ['perl', script, 'serve', String(vmid), String(port)]).says(/ready/)
}

/** New connections from the internet while `work` goes on, each `pauseMs` after the last. */
export async function askDuring(
  lab: Lab,
  { vmid, external }: BenchForward,
  pauseMs: number,
  work: () => Promise<unknown>,
): Promise<Asked> {
  const words = ['ask', vmid, EXTERNAL, external, pauseMs].map(String)
  const client: Running = lab.spawn('inet', ['perl', script, ...words])
  await client.says(/ready/)
  await work()
  await client.stop()
  const [, counts = '', ...failures] = client.stdout.trimEnd().split('\n')
  const [made = NaN, seconds = NaN] = counts.split(' ').map(Number)
  return { made, seconds, failures }
}
