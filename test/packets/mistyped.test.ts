// A wrong rule for each diagnostic of check that a rule alone brings about, all in one tree: its packet does not pass, and does when the help is typed.
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { node1Plan, saveInPlace, twoUplinks, type Answer } from '../lab/index.ts'
import { BOUNDS } from './mistyped-bounds.ts'
import { COMMENTS } from './mistyped-comments.ts'
import { FIELDS } from './mistyped-fields.ts'
import { ANSWERS, CLUSTER, FW_105, FW_107, FW_108, HOST, IN, NOT, SETTINGS, type Typed } from './mistyped.ts'
import { testNode } from './node.ts'

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
  [HOST]: GUEST,
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

interface Diagnostic {
  file: string
  line: number
  code: string
  message: string
  help: string | null
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
    '107:22/tcp',
    '108:22,2049/tcp',
    '200:22/tcp',
    'pve:2049,3055,8006/tcp',
    'inet:443,444,445,446,447/tcp',
  ],
})

async function check(): Promise<Diagnostic[]> {
  return JSON.parse((await node.pvenat.run('check', '--json')).stdout) as Diagnostic[]
}

/** Rules that are wrong, typed all at once, and then all right: what check says, and the answers of before and after. */
class Sheet {
  readonly told = new Map<string, Diagnostic>()
  readonly before = new Map<string, Answer>()
  readonly after = new Map<string, Answer>()
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
    const diagnostics = await check()
    for (const entry of this.entries) await this.look(entry, diagnostics)
    await node.pvenat.run('apply')
    await this.ask(this.before)
    await this.save(([code]) => this.right.get(code) ?? '', true)
    await node.pvenat.run('apply')
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
  private async look([code, typed]: [string, Typed], diagnostics: readonly Diagnostic[]): Promise<void> {
    const file = typed.file ?? FW_105
    const lines = (await node.text(file)).split('\n')
    const mine = diagnostics.find(
      (one) =>
        one.code === code &&
        join(node.tree, file) === one.file &&
        typed.wrong.split('\n').includes(lines[one.line - 1] ?? ''),
    )
    if (mine) this.told.set(code, mine)
    this.right.set(code, typeof typed.right === 'string' ? typed.right : typed.right(mine?.help ?? ''))
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
])('%s', (_, table, files) => {
  const sheet = new Sheet(table, files)
  beforeAll(() => sheet.fill())

  test.each(Object.entries(table))('%s', (code, typed) => {
    const { message = '', help } = sheet.told.get(code) ?? {}
    expect(help ?? message).toMatch(typed.says)
    matches(sheet.before.get(code), typed.before ?? NOT)
    matches(sheet.after.get(code), typed.after ?? ANSWERS)
  })
})

test('port-kept: what a service of the node had is handed over when the administrator says so', async () => {
  await saveInPlace(node.tree, FW_105, GUEST.replace(/^RULES$/m, IN('NAT 3055')))
  await saveInPlace(node.tree, SETTINGS, '[nat]\nbackend = nft\n')
  await node.pvenat.run('apply')
  await node.lab.unserve('pve', 'tcp', 3055)
  await node.pvenat.run('apply')
  const kept = (await check()).find(({ code }) => code === 'port-kept')
  expect(kept?.help).toMatch(/hands it over now with: pvenat apply --hand-over$/)
  expect(await node.ask(3055)).toBe('refused')
  await node.pvenat.run('apply', '--hand-over')
  expect((await check()).map(({ code }) => code)).not.toContain('port-kept')
  expect(await node.ask(3055)).toMatchObject({ server: '105' })
})
