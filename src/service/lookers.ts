/**
 * Answers `pvenat web` over a socket in the run folder, and publishes the counters of the rules, more often while the page is open. A question is
 * one short line; the answer depends on the rule id in it alone.
 */
import { rmSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { formatRange } from '../address.ts'
import { endpoint } from '../explain/packet.ts'
import type { NatRule } from '../nat/nat-rule.ts'
import { ownAddresses } from '../nat/guest-addresses.ts'
import type { Applied } from '../node/apply.ts'
import { clientsOf, type Client } from '../node/clients.ts'
import type { Outcome } from '../pipeline.ts'
import type { Installed } from '../ruleset/installed.ts'
import { blockRows, blockText } from '../show/blocks.ts'
import { countersOf, renderCountersJson } from '../show/list.ts'
import { uplinkCounters } from '../show/uplink-counters.ts'
import { SOCKET, type NodeAnswer, type RuleAnswer } from '../node/asking.ts'
import { FILES } from '../node/published.ts'
import type { RunFolder } from './runfolder.ts'

/** Interval between the starts of two counts while a page is open, which is then at most 3 s behind. */
const LOOKED_AT_MS = 1500
/** Interval between counts while no page is open; they use readings that were made for another reason. */
const COUNT_MS = 10_000
const MAX_SOCKETS = 32
/** Time limit for the line of a connection. */
const LINE_MS = 2000
const MAX_LINE = 200
/** Connections that are named; further ones are counted. */
const MAX_CLIENTS = 50

/** Reads the rules of the kernel with their counters. */
type Read = (before: Installed) => Promise<Installed>

export interface Lookers {
  /** What is in force now. */
  passed: (applied: Pick<Applied, 'outcome' | 'readBack'>, read: Read) => void
  close: () => Promise<void>
}

export function answerLookers(runDir: string, files: Pick<RunFolder, 'write'>): Lookers {
  let now: { outcome: Outcome; installed: Installed; read: Read } | undefined
  const looking = new Set<Socket>()
  let timer: NodeJS.Timeout | undefined
  let countedAt = -Infinity
  const count = ({ ruleset, view }: Outcome, installed: Installed): void => {
    countedAt = performance.now()
    const uplinks = uplinkCounters(ruleset, installed, view.network)
    const text = renderCountersJson(new Date().toISOString(), countersOf(ruleset, installed), uplinks)
    files.write(FILES.counters, text)
  }
  const keepCounting = async (): Promise<void> => {
    const start = performance.now()
    const counted = await now?.read(now.installed).catch(() => undefined)
    if (now && counted) count(now.outcome, counted)
    // A reading that takes longer than half of the interval is followed by a pause of its own length.
    const tookMs = performance.now() - start
    const pauseMs = Math.max(LOOKED_AT_MS - tookMs, tookMs)
    timer = looking.size > 0 ? setTimeout(() => void keepCounting(), pauseMs).unref() : undefined
  }
  const look = (socket: Socket): void => {
    looking.add(socket)
    socket.setTimeout(0).on('close', () => looking.delete(socket))
    if (timer) return
    timer = setTimeout(() => void keepCounting(), 0).unref()
  }
  const answer = async (line: string): Promise<unknown> => {
    if (!now) return null
    if (line === 'node') return nodeAnswer(now.outcome)
    const { outcome } = now
    const rule = outcome.translation.rules.find(({ id }) => `rule ${id}` === line)
    return rule ? ruleAnswer(outcome, rule, await clientsOf(rule)) : null
  }
  const server = createServer((socket) => {
    let text = ''
    socket.setEncoding('utf8').setTimeout(LINE_MS, () => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('data', (data: string) => {
      text += data
      if (text.length > MAX_LINE) socket.destroy()
      if (!text.endsWith('\n') || socket.destroyed) return
      socket.removeAllListeners('data').resume()
      const line = text.trim()
      if (line === 'look') look(socket)
      else void answer(line).then((value) => socket.end(JSON.stringify(value)))
    })
  })
  server.maxConnections = MAX_SOCKETS
  const path = join(runDir, SOCKET)
  try {
    rmSync(path, { force: true })
  } catch {
    // Without the folder it cannot listen either.
  }
  // Without it the page shows counts that are older, and says that it does not know who is connected.
  server.on('error', () => undefined).listen(path, () => void chmod(path, 0o660).catch(() => undefined))
  server.unref()
  return {
    passed({ outcome, readBack }, read) {
      const isNew = readBack !== now?.installed
      now = { outcome, installed: readBack, read }
      if (isNew && performance.now() - countedAt >= COUNT_MS) count(outcome, readBack)
    },
    close: () =>
      new Promise((resolve) => {
        clearTimeout(timer)
        for (const socket of looking) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

function ruleAnswer(outcome: Outcome, { scope }: NatRule, clients: Client[]): RuleAnswer {
  const guest = scope.kind === 'guest' ? scope.guest : undefined
  const block = blockRows(outcome).find(({ vmid }) => vmid === guest?.vmid)
  return {
    guestType: guest?.type ?? null,
    block: block ? blockText(block) : null,
    connections: clients.slice(0, MAX_CLIENTS).map(({ source, sport, destination, dport, state }) => ({
      client: endpoint(source, sport || undefined),
      port: endpoint(destination, dport || undefined),
      state,
    })),
    total: clients.length,
  }
}

function nodeAnswer(outcome: Outcome): NodeAnswer {
  const { view } = outcome
  const { guests, settings, listeners } = view
  const free = new Map(blockRows(outcome).map((block) => [block.vmid, block.free]))
  const listening = listeners.map(({ proto, port, holder }) => ({
    proto,
    ports: [port, port] as const,
    holder: holder || 'a service of this node',
  }))
  return {
    guests: guests.map(({ guest }) => {
      const { vmid, name, type } = guest
      const addresses = ownAddresses(guest, undefined, view).map(formatRange)
      return { vmid, name, type, addresses, free: free.get(vmid) ?? null }
    }),
    taken: [...settings.reserved.map(({ proto, ports, holder }) => ({ proto, ports, holder })), ...listening],
  }
}
