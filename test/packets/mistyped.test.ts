// A wrong rule for each diagnostic of check that a rule alone brings about, all in one tree: its packet does not pass, and does when the help is
// typed, after which check tells the diagnostic no more.
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { node1Plan, saveInPlace, twoUplinks, type Answer } from '../lab/index.ts'
import { BOUNDS } from './mistyped-bounds.ts'
import { COMMENTS } from './mistyped-comments.ts'
import { FIELDS } from './mistyped-fields.ts'
import { LIMITS } from './mistyped-limits.ts'
import { stepTests } from './mistyped-steps.ts'
import { ANSWERS, CLUSTER, FW_105, FW_107, FW_108, HOST, IN, NOT, SETTINGS, type Typed } from './mistyped.ts'
import { testNode } from './node.ts'
import { check, type Told } from './told.ts'

/** Each file by its path, with `RULES` where the lines stand. */
type Files = Record<string, string>

const GUEST = '[OPTIONS]\nenable: 1\n[RULES]\nRULES\n'
const FILES: Files = {
  [CLUSTER]: `[OPTIONS]
enable: 1
[ALIASES]
office 198.51.100.0/24
[IPSET trusted]
203.0.113.1
[IPSET hollow]
[IPSET odd]
203.0.113.1
!198.51.100.7/33
[RULES]
RULES
[group one]
${IN('NAT 3004')}
[group two]
${IN('two')}
`,
  [FW_105]: `[OPTIONS]\nenable: 1\n[RULES]\n${IN('NAT 65001')}\n${IN('NAT 3045')}\nRULES\n`,
  [FW_107]: GUEST,
  [FW_108]: GUEST,
  'firewall/200.fw': GUEST,
  [HOST]: GUEST.replace('RULES\n', 'IN ACCEPT # NAT 198.18.7.102/31 full=1 to=10.10.10.102/31\nRULES\n'),
  [SETTINGS]: `[nat]
backend = nft
RULES
[guest 107]
ports = 4000-4009
addresses = 203.0.113.2
[guest 108]
[guest 200]
`,
}

/** Where guests have blocks of ports, and the firewall of the node is off. */
const BLOCK_FILES: Files = {
  ...FILES,
  [FW_105]: GUEST,
  'firewall/200.fw': '',
  [HOST]: GUEST.replace('1', '0'),
  [SETTINGS]: `[nat]
backend = nft
guest-block = 20000-20399/4
RULES
[guest 105]
ports = 6000-6300
[guest 107]
block = 5
[guest 108]
block = 900
`,
}

/** Without blocks of ports, and with the node's own address to give away. */
const BARE_FILES: Files = {
  ...BLOCK_FILES,
  [HOST]: GUEST,
  [SETTINGS]: `[nat]
backend = nft
allow-reserved = yes
[guest 105]
ports = 6000-6300
`,
}

const node = testNode('nft', {
  lab: {
    ...twoUplinks,
    bridges: node1Plan.bridges.map(({ name, addresses }) => ({
      name,
      addresses: name === 'vmbr0' ? [...addresses, '203.0.113.7/24'] : addresses,
    })),
    routes: [...node1Plan.routes, 'default via 192.0.2.1 dev eth1 metric 500'],
  },
  serve: [
    '105:22,80,3122,8006/tcp',
    '105:40,44,33434/udp',
    '107:22/tcp',
    '108:22,2049/tcp',
    '200:22/tcp',
    'pve:2049,3055,8006/tcp',
    'inet:443,444,445,446,447/tcp',
  ],
  // Networks that are mapped as a whole.
  prepare: ({ lab }) => lab.ip('inet', ['route add 198.18.7.96/27 via 203.0.113.2']),
})

/** Rules that are wrong, typed all at once, and then all right: what check says, and the answers of before and after. */
class Sheet {
  readonly told = new Map<string, Told>()
  readonly before = new Map<string, Answer>()
  readonly after = new Map<string, Answer>()
  /** The codes that check still tells of a rule when all is right. */
  readonly left = new Map<string, string[]>()
  private readonly right = new Map<string, string>()
  private readonly entries: [code: string, typed: Typed][]

  constructor(
    table: Record<string, Typed>,
    private readonly files: Files,
  ) {
    this.entries = Object.entries(table)
  }

  async fill(): Promise<void> {
    await this.save(([, { wrong }]) => wrong, false)
    const diagnostics = await check(node.pvenat)
    for (const entry of this.entries) await this.look(entry, diagnostics)
    await node.pvenat.run('apply')
    await this.ask(this.before)
    await this.save(([code]) => this.right.get(code) ?? '', true)
    await node.pvenat.run('apply')
    const left = await check(node.pvenat)
    for (const [code, typed] of this.entries) {
      const told = await this.of(typed, this.right.get(code) ?? '', left)
      this.left.set(
        code,
        told.map((one) => one.code),
      )
    }
    await this.ask(this.after)
  }

  /** Saves every file with its lines, and what the help asks for besides. */
  private async save(lines: (entry: [string, Typed]) => string, isRight: boolean): Promise<void> {
    for (const [file, text] of Object.entries(this.files)) {
      const own = this.entries.filter(([, typed]) => (typed.file ?? FW_105) === file)
      const also = this.entries.flatMap(([, typed]) =>
        isRight && typed.also?.[0] === file ? [typed.also] : [],
      )
      const base = also.reduce((all, [, from, to]) => all.replace(from, to), text)
      const all = own.map(lines).filter((line) => line !== '')
      await saveInPlace(node.tree, file, base.replace(/^RULES$/m, all.join('\n')))
    }
  }

  /** Finds what is said at a wrong rule, and makes the right one of it. */
  private async look([code, typed]: [string, Typed], diagnostics: readonly Told[]): Promise<void> {
    const mine = (await this.of(typed, typed.wrong, diagnostics)).find((one) => one.code === code)
    if (mine) this.told.set(code, mine)
    this.right.set(code, typeof typed.right === 'string' ? typed.right : typed.right(mine?.help ?? ''))
  }

  /** The diagnostics of lines of a rule's file. */
  private async of({ file = FW_105 }: Typed, text: string, diagnostics: readonly Told[]): Promise<Told[]> {
    const lines = (await node.text(file)).split('\n')
    const own = text.split('\n')
    return diagnostics.filter(
      (one) => one.file === join(node.tree, file) && own.includes(lines[one.line - 1] ?? ''),
    )
  }

  private async ask(answers: Map<string, Answer>): Promise<void> {
    await Promise.all(
      this.entries.map(async ([code, { ask }]) => {
        const port = /(\d+)\D*$/.exec(this.right.get(code) ?? '')?.[1]
        const { from = 'inet', as, to } = ask ?? { to: `203.0.113.2:${port}` }
        const options = { timeoutMs: 1000, ...(as === undefined ? {} : { from: as }) }
        answers.set(code, await node.call(from, to, options))
      }),
    )
  }
}

const matches = (answer: Answer | undefined, wanted: object | 'none') =>
  wanted === 'none' ? expect(typeof answer).toBe('string') : expect(answer).toMatchObject(wanted)

describe.each<[string, Record<string, Typed>, Files]>([
  ['rules', { ...COMMENTS, ...FIELDS }, FILES],
  ['blocks and bounds', BOUNDS, BLOCK_FILES],
  ['limits', LIMITS, BARE_FILES],
])('%s', (_, table, files) => {
  const sheet = new Sheet(table, files)
  beforeAll(() => sheet.fill())

  test.each(Object.entries(table))('%s', (code, typed) => {
    const { message = '', help } = sheet.told.get(code) ?? {}
    expect(help ?? message).toMatch(typed.says)
    expect(sheet.left.get(code)).not.toContain(code)
    matches(sheet.before.get(code), typed.before ?? NOT)
    matches(sheet.after.get(code), typed.after ?? ANSWERS)
  })
})

stepTests(node)
