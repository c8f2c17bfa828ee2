// Text that is twice as long may take less than three times as long to read, whatever blanks it is made of.
import { expect, test } from 'vitest'
import { parseProtocols, parseServices } from '../../src/fw/etc.ts'
import { parseGuestConfig } from '../../src/guest/config.ts'
import {
  parseEthers,
  parseIpam,
  parseLeases,
  parseMacCache,
  parseNeighbours,
} from '../../src/guest/sightings.ts'
import { readSettings } from '../../src/node/settings.ts'
import { plainGuest, run, type HostileTree } from './node.ts'

const SIZE = 32 * 1024
/** Nothing is said about less than this: a clock tick, a garbage collection. */
const LEAST_MS = 60

const BLANKS = [' ', '\t', '\v', '\f', '\r', '\xa0', '\x85', '\u00c2\u00a0', '\n', '\r\n']

/** Words with as many blanks between, before and behind them. */
const SHAPES: Record<string, (words: readonly string[], blanks: string) => string> = {
  'nothing but blanks': (_, blanks) => blanks,
  'blanks before': (words, blanks) => blanks + words.join(' '),
  'blanks behind': (words, blanks) => words.join(' ') + blanks,
  'blanks between': (words, blanks) => words.join(blanks),
  'blanks between, and something else': (words, blanks) => `${words.join(blanks)}${blanks}x`,
}

const tree = (part: Partial<HostileTree>): HostileTree => ({ cluster: '', host: '', guests: [], ...part })
const section = (name: string, line: string): string => `[OPTIONS]\nenable: 1\n[${name}]\n${line}\n`

interface Reader {
  words: readonly (readonly string[])[]
  read: (text: string) => unknown
}

const RULE = ['IN', 'ACCEPT', '-p', 'tcp', '-dport', '80', '#', 'NAT', '8080', '-', 'web']
const ENABLE = ['enable', ':', '1']

const READERS: Record<string, Reader> = {
  '.fw': {
    words: [
      RULE,
      ENABLE,
      ['[RULES]', '#', 'x'],
      ['[IPSET', 'x', ']'],
      ['a', '10.0.0.1', '#', 'b'],
      ['GROUP', 'web'],
    ],
    read: (text) => {
      const guest = plainGuest(107, section('RULES', text))
      return run(
        tree({
          cluster: `${section('OPTIONS', text)}${section('ALIASES', text)}${section('IPSET s', text)}`,
          guests: [guest],
        }),
      )
    },
  },
  'guest config': {
    words: [
      ['net0:', 'name=eth0,bridge=vmbr1', ',ip=10.10.10.5/24'],
      ['hostname:', 'x'],
      ['[', 'snap', ']'],
    ],
    read: (text) => parseGuestConfig(text, 107, 'lxc'),
  },
  settings: {
    words: [
      ['[nat]', '; x'],
      ['[', 'guest 107', ']', 'x'],
      ['[nat]\nexternal', '=', 'vmbr0', '+wg0'],
      ['[nat]\nreserved-ports =', '+', 'tcp:1'],
    ],
    read: (text) => readSettings(['/etc/pvenat/pvenat.conf'], new Map(), () => ({ text })),
  },
  leases: {
    words: [
      ['0', 'bc:24:11:00:00:01', '10.10.10.5', 'x', '*'],
      ['bc:24:11:00:00:01,10.0.0.1,[', ']'],
    ],
    read: (text) => [parseLeases(text, 0), parseEthers(text)],
  },
  'SDN and neighbours': {
    words: [
      ['{"zones":', '{', '}', '}'],
      ['[', ']'],
    ],
    read: (text) => [parseIpam(text), parseMacCache(text), parseNeighbours(text)],
  },
  'services and protocols': {
    words: [
      ['ssh', '22/tcp', 'x'],
      ['tcp', '6', 'TCP', '# x'],
    ],
    read: (text) => [parseServices(text), parseProtocols(text)],
  },
}

async function cpuMs(work: () => unknown): Promise<number> {
  const start = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1000
}

/** The least of some tries, of which the first few make the machine code. */
async function leastMs(work: () => unknown): Promise<number> {
  let least = await cpuMs(work)
  for (let again = 0; again < 3 && least > LEAST_MS / 4; again++) least = Math.min(least, await cpuMs(work))
  return least
}

const kinds = Object.entries(READERS).flatMap(([name, reader]) =>
  Object.entries(SHAPES).map(([shape, make]) => ({ name, shape, make, ...reader })),
)

test.each(kinds)('$name: $shape', async ({ words, make, read }) => {
  for (const blank of BLANKS) {
    for (const some of words) {
      const text = (size: number): string => {
        const gaps = Math.max(1, some.length)
        return make(some, blank.repeat(Math.ceil(size / blank.length / gaps)))
      }
      const twice = await leastMs(() => read(text(2 * SIZE)))
      if (twice < LEAST_MS) continue
      const once = await leastMs(() => read(text(SIZE)))
      expect(twice, `${JSON.stringify(blank)} in ${some.join(' ')}: ${once} ms, then`).toBeLessThan(
        3 * Math.max(once, LEAST_MS / 3),
      )
    }
  }
})
