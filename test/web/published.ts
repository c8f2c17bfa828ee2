// What the service would publish, in its form: for tests without a service, and for many rules.
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Row } from '../../src/show/list.ts'
import { judge } from '../../src/show/verdict.ts'
import type { Status } from '../../src/show/status.ts'
import type { Problem } from '../../src/node/published.ts'

const NAMES = ['web', 'mail', 'db', 'git', 'shop', 'wiki', 'build', 'game', 'vpn', 'proxy', 'cache', 'ldap']

export interface Told {
  status: Status
  rows: Row[]
  counters: { at: string; rules: Record<string, [number, number]> }
}

/** `count` rules, about ten of a guest; every `badEvery`th is in error, its neighbour in conflict. */
export function told(count: number, badEvery = 0): Told {
  const rows = Array.from({ length: count }, (_, i) => rowOf(i, count, badEvery))
  const now = new Date().toISOString()
  const tally = (state: Row['state']): number => rows.filter((row) => row.state === state).length
  const bad = rows.filter(({ state }) => state === 'error' || state === 'conflict')
  const rules = {
    asked: rows.length - tally('inactive'),
    failing: bad.length,
    dead: 0,
    first: bad.slice(0, 3).map(({ line, reason }) => `105.fw:${line}: ${reason}`),
  }
  const status: Status = {
    inStep: true,
    firewall: 'iptables',
    backend: 'legacy',
    lastApply: now,
    lastError: null,
    degraded: null,
    external: [{ interface: 'vmbr0', addresses: ['203.0.113.2', '203.0.113.7', '2001:db8:113::2'] }],
    internal: [
      { interface: 'vmbr1', network: '10.10.0.0/16', address: '10.10.0.1' },
      { interface: 'vmbr2', network: '10.20.0.0/16', address: '10.20.0.1' },
    ],
    counts: {
      active: tally('active'),
      inactive: tally('inactive'),
      error: tally('error'),
      conflict: tally('conflict'),
      quarantined: 0,
      partial: 0,
      pending: 0,
    },
    diagnostics: bad.map(problemOf),
    since: now,
    node: 'pve1',
    version: '0.1.0',
    pid: 4711,
    startedAt: now,
    updatedAt: now,
    applyMs: 41.5,
    lockMs: 12.25,
    applies: 3,
    repairs: { chain: 1, hook: 0, set: 2, sysctl: 0, loop: 0, routing: 0 },
    rules,
    ...judge({ inStep: true, degraded: null, rules, troubles: [], isRunning: true, isCompared: true }),
    uplinks: [],
    troubles: [],
  }
  const counts = rows.map(({ id, packets, bytes }): [string, [number, number]] => [id, [packets, bytes]])
  return { status, rows, counters: { at: now, rules: Object.fromEntries(counts) } }
}

/** The last words of a service that has ended. */
export const ended = (status: Status): Status => ({
  ...status,
  pid: null,
  ...judge({ ...status, isRunning: false, isCompared: true }),
})

function rowOf(i: number, count: number, badEvery: number): Row {
  const perGuest = count > 20 ? 10 : 2
  const vmid = 100 + Math.floor(i / perGuest)
  const name = NAMES[vmid % NAMES.length] as string
  const bad = badEvery > 0 && i % badEvery === 1
  const state = bad
    ? 'error'
    : badEvery > 0 && i % badEvery === 2
      ? 'conflict'
      : i % 17 === 16
        ? 'inactive'
        : 'active'
  const net = vmid % 3 === 0 ? 20 : 10
  const port = 2000 + i
  const isOut = i % perGuest === perGuest - 1
  return {
    id: `${vmid}-${String(i).padStart(6, '0')}`,
    kind: isOut ? 'egress' : 'forward',
    state,
    reason: bad ? 'port 8006 belongs to this node (pveproxy)' : state === 'conflict' ? 'port taken' : '',
    guest: { vmid, name },
    proto: isOut ? ['all'] : [i % 5 === 0 ? 'udp' : 'tcp'],
    external: {
      addresses: isOut || i % 4 === 3 ? 'any' : [i % 4 === 0 ? '203.0.113.7' : '203.0.113.2'],
      ports: isOut ? null : [[port, port]],
      interface: isOut ? 'vmbr0' : null,
    },
    inner: isOut
      ? { address: null, ports: null }
      : { address: `10.${net}.${vmid >> 8}.${vmid & 255}`, ports: [[22 + (i % 9), 22 + (i % 9)]] },
    source: i % 6 === 0 ? '198.51.100.0/24' : '',
    family: [4],
    file: `/etc/pve/firewall/${vmid}.fw`,
    line: 5 + (i % perGuest),
    comment: `NAT ${port} ${name}`,
    packets: state === 'active' ? (i * 7919) % 3000 : 0,
    bytes: ((i * 7919) % 3000) * 60,
    given: false,
    uplinks: [],
  }
}

function problemOf({ file, line, state }: Row): Problem {
  const text = 'IN ACCEPT -p tcp -dport 22 # NAT 8006'
  return state === 'error'
    ? {
        file,
        line,
        column: 34,
        endColumn: 38,
        severity: 'error',
        code: 'port-reserved',
        text,
        message: 'port 8006/tcp belongs to this node (pveproxy)',
        help: 'pick a free port',
        proposals: ['NAT 18006'],
      }
    : {
        file,
        line,
        column: 34,
        endColumn: 38,
        severity: 'error',
        code: 'port-taken',
        text,
        message: 'external port 8006 is already forwarded by /etc/pve/firewall/101.fw:5',
        help: 'pick another port, or switch one of the two rules off',
        proposals: [],
      }
}

/** A run folder, as the service leaves it. */
export class RunFolder {
  private constructor(readonly dir: string) {}

  static async create(what?: Partial<Told>): Promise<RunFolder> {
    const folder = new RunFolder(await mkdtemp(join(tmpdir(), 'pvenat-run-')))
    if (what) await folder.say(what)
    return folder
  }

  /** Writes what is given, each file by rename. */
  async say({ status, rows, counters }: Partial<Told>): Promise<void> {
    if (rows) await this.write('list.json', JSON.stringify(rows))
    if (counters) await this.write('counters.json', JSON.stringify(counters))
    if (status) await this.write('status.json', JSON.stringify(status))
  }

  async write(name: string, text: string): Promise<void> {
    const temporary = join(this.dir, `.${name}.tmp`)
    await writeFile(temporary, text)
    await rename(temporary, join(this.dir, name))
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true })
  }
}
