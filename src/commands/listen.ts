/** Where the page is served, and so who may see it. */
import { UsageError } from '../io.ts'

/** `local`: the loopback or a unix socket, whose clients are on the node already. */
export type Listen =
  { kind: 'unix'; path: string; local: true } | { kind: 'tcp'; host: string; port: number; local: boolean }

/** `unix:/path`, `127.0.0.1:8186`, `[2001:db8::2]:8186`, `0.0.0.0:8186`. A name is not taken: it may mean something else tomorrow. */
export function parseListen(text: string): Listen {
  if (text.startsWith('unix:/')) return { kind: 'unix', path: text.slice('unix:'.length), local: true }
  const [, v6, v4, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text) ?? []
  const host = v6 ?? v4
  if (host === undefined || Number(port) > 65535 || (v4 !== undefined && !/^\d+(\.\d+){3}$/.test(v4)))
    throw new UsageError(
      `--listen takes unix:/PATH or ADDRESS:PORT such as 127.0.0.1:8186 or [::1]:8186, not '${text}'`,
    )
  return { kind: 'tcp', host, port: Number(port), local: host === '::1' || host.startsWith('127.') }
}
