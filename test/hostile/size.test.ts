// What size costs: trees of the kinds that would hurt most. `FIGURES=1` tells what each took.
import { afterAll, expect, test } from 'vitest'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { plainGuest, run, shown, type HostileTree } from './node.ts'

const MIB = 2 ** 20
/** For each megabyte of input, on a loaded machine; alone it is below a quarter of that. Anything quadratic takes minutes. */
const MAX_MS_A_MIB = 10_000
const MAX_MB_A_MIB = 300

const on = (rules: string) => `[OPTIONS]\nenable: 1\n[RULES]\n${rules}`
const CLUSTER = '[OPTIONS]\nenable: 1\n'
const quiet = (...guests: HostileTree['guests']): HostileTree => ({ cluster: CLUSTER, host: '', guests })
const times = (n: number, line: (i: number) => string) =>
  Array.from({ length: n }, (_, i) => line(i)).join('\n')
const v4 = (i: number) => `${1 + (i >> 24)}.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
/** As many lines as a megabyte holds. */
const fill = (line: (i: number) => string) => times(Math.floor(MIB / (line(99_999).length + 1)), line)

const OPEN = { ...DEFAULT_SETTINGS, reserved: [] }
const honest = (count: number) =>
  Array.from({ length: count }, (_, i) =>
    plainGuest(20_000 + i, on(times(5, (j) => `IN ACCEPT -p tcp -dport 80 # NAT ${10_000 + 5 * i + j}`))),
  )
const groups = `${CLUSTER}${times(1000, (i) => `[group g${i}]\nIN HTTP(ACCEPT) # NAT ${10_000 + i}\nOUT ACCEPT # NAT\nIN ACCEPT -p udp -dport ${i + 1} # NAT`)}`
const sets = (k: number, n: number) =>
  times(k, (i) => `[IPSET s${i}]\n${times(n, (j) => v4((i * n + j) * 2 + 16_777_216))}`)

const TREES: Record<string, () => HostileTree> = {
  'one line': () => quiet(plainGuest(107, on(`IN ACCEPT -p tcp -dport 80 # NAT ${'8080,'.repeat(MIB / 5)}`))),
  'one list of ports': () =>
    quiet(plainGuest(107, on(`IN ACCEPT # NAT ${Array.from({ length: 65_535 }, (_, i) => i + 1).join()}`))),
  'one list of addresses': () =>
    quiet(
      plainGuest(
        107,
        on(`IN HTTP(ACCEPT) -source ${Array.from({ length: 80_000 }, (_, i) => v4(i * 2)).join()} # NAT`),
      ),
    ),
  'one comment of options': () =>
    quiet(plainGuest(107, on(`IN HTTP(ACCEPT) # NAT ${'a=1 '.repeat(MIB / 4)}`))),
  'comments of options': () =>
    quiet(plainGuest(107, on(fill((i) => `IN HTTP(ACCEPT) # NAT ${'a=1 '.repeat(500)} ${i}`)))),
  'rules marked NAT': () => quiet(plainGuest(107, on(fill(() => 'IN ACCEPT # NAT')))),
  'rules marked NAT in cluster.fw': () => ({ ...quiet(), cluster: on(fill(() => 'IN ACCEPT # NAT')) }),
  'forwards in cluster.fw': () => ({
    ...quiet(),
    cluster: on(fill((i) => `IN HTTP(ACCEPT) -dest 10.10.1.1 # NAT ${1 + (i % 65_535)}`)),
  }),
  'skipped lines': () => quiet(plainGuest(107, on(fill(() => 'IN # NAT')))),
  'a set of all that fits': () =>
    quiet(
      plainGuest(
        107,
        `${on('IN HTTP(ACCEPT) -source +big # NAT\n')}\n[IPSET big]\n${fill((i) => v4(i * 2))}\n[RULES]\n${times(200, (i) => `IN HTTP(ACCEPT) -source +big # NAT ${9000 + i}`)}`,
      ),
    ),
  'a set of 60,000 that everybody names': () => ({
    ...quiet(
      ...Array.from({ length: 100 }, (_, i) =>
        plainGuest(200 + i, on(times(5, (j) => `IN HTTP(ACCEPT) -source +dc/big # NAT ${9000 + 5 * i + j}`))),
      ),
    ),
    cluster: `${CLUSTER}[IPSET big]\n${times(60_000, (i) => v4(i * 2))}`,
  }),
  'a set full of exceptions': () =>
    quiet(
      plainGuest(
        107,
        `[OPTIONS]\nenable: 1\n[IPSET big]\n10.0.0.0/8\n${times(50_000, (i) => `!10.${(i >> 15) & 255}.${(i >> 7) & 255}.${(i & 127) * 2}`)}\n[RULES]\nIN HTTP(ACCEPT) -source +big # NAT 80`,
      ),
    ),
  'sets of IPv6': () =>
    quiet(
      plainGuest(
        107,
        `[OPTIONS]\nenable: 1\n[IPSET big]\n${times(8000, (i) => `2001:db8:0:${(i >> 8).toString(16)}::${(i & 255).toString(16)}`)}\n[RULES]\nIN HTTP(ACCEPT) -source +big # NAT 80`,
      ),
    ),
  'many sets on one port': () =>
    quiet(
      plainGuest(
        107,
        `[OPTIONS]\nenable: 1\n${sets(400, 20)}\n[RULES]\n${times(400, (i) => `IN HTTP(ACCEPT) -source +s${i} # NAT 9000`)}`,
      ),
    ),
  'forwards of all ports, nothing reserved': () => ({
    ...quiet(
      plainGuest(107, on(times(10_000, (i) => `IN ACCEPT -source ${v4(i + 16_777_216)} # NAT 1-65535`))),
    ),
    settings: OPEN,
  }),
  'forwards of all ports for anybody, nothing reserved': () => ({
    ...quiet(plainGuest(107, on(times(10_000, () => 'IN ACCEPT # NAT 1-65535'))), ...honest(600)),
    settings: OPEN,
  }),
  'forwards of all ports': () => quiet(plainGuest(107, on(times(10_000, () => 'IN ACCEPT # NAT 1-65535')))),
  'forwards of all ports, each for one client': () =>
    quiet(plainGuest(107, on(times(10_000, (i) => `IN ACCEPT -source ${v4(i + 16_777_216)} # NAT 1-65535`)))),
  'forwards of nearly all ports among many others': () =>
    quiet(
      plainGuest(107, on(times(10_000, (i) => `IN ACCEPT -source ${v4(i + 16_777_216)} # NAT 9200-59000`))),
      ...honest(600),
    ),
  'every port by itself': () =>
    quiet(plainGuest(107, on(fill((i) => `IN ACCEPT # NAT ${1 + (i % 65_535)}`)))),
  'forwards with exemptions': () =>
    quiet(
      plainGuest(
        107,
        on(
          `${times(300, (i) => `IN ACCEPT -p tcp -source ${v4(i + 16_777_216)} # NAT 9200-59000`)}\n${times(64, (i) => `IN ACCEPT -p tcp -dport ${9300 + i}:9999 -source ${v4(i * 7 + 16_777_216)} # NAT none`)}`,
        ),
      ),
    ),
  'ranges of addresses': () =>
    quiet(
      plainGuest(
        107,
        on(
          fill(
            (i) =>
              `IN ACCEPT -p tcp -source 2001:db8::1-2001:db8:ffff:ffff:ffff:ffff:ffff:fffe # NAT ${8100 + i}`,
          ),
        ),
      ),
    ),
  '1:1 NAT': () =>
    quiet(
      plainGuest(107, on(fill((i) => `IN ACCEPT -source ${v4(i + 16_777_216)} # NAT 203.0.113.7 full=1`))),
    ),
  '1,000 groups pulled in by 500 guests': () => ({
    cluster: groups,
    host: '',
    guests: Array.from({ length: 500 }, (_, i) =>
      plainGuest(1000 + i, on(times(1000, (j) => `GROUP g${j}`))),
    ),
  }),
  'a config of NICs': () =>
    quiet({
      ...plainGuest(107, on('IN HTTP(ACCEPT) # NAT 9000')),
      config: fill(
        (i) => `net${i % 40}: name=eth${i},bridge=vmbr1,hwaddr=BC:24:11:00:00:01,ip=10.10.9.${i % 250}/16`,
      ),
    }),
}

const figures: string[] = []
afterAll(() => process.env.FIGURES && console.log(figures.join('\n')))

test.each(Object.entries(TREES))(
  '%s',
  (name, make) => {
    const tree = make()
    const size = [tree.cluster, tree.host, ...tree.guests.flatMap(({ fw, config }) => [fw, config])].join(
      '',
    ).length
    const files = Math.max(1, size / MIB)
    global.gc?.()
    const before = process.memoryUsage().heapUsed
    const start = performance.now()
    const result = run(tree)
    const computed = performance.now() - start
    const heap = (process.memoryUsage().heapUsed - before) / MIB
    const text = shown(result)
    const ms = performance.now() - start
    figures.push(
      `${name}: ${files.toFixed(1)} MiB, ${computed.toFixed(0)} ms, with diagnostics ${ms.toFixed(0)} ms, ${heap.toFixed(0)} MB, ${result.input.length} bytes to the kernel, ${text.length} shown`,
    )
    expect(ms / files).toBeLessThan(MAX_MS_A_MIB)
    expect(heap / files).toBeLessThan(MAX_MB_A_MIB)
  },
  120_000,
)
