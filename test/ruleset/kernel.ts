/**
 * As much of a kernel as plans need: it takes the text of a plan and shows what is then in force. It is strict as the real one is: a
 * reference to what is not there, or the removal of what is still in use, is an exception.
 */
import { formatIp, type Family } from '../../src/address.ts'
import { parseSave, parseSets, type Installed } from '../../src/ruleset/installed.ts'
import type { Routing } from '../../src/ruleset/ruleset.ts'
import type { Plan } from '../../src/ruleset/plan.ts'

const TABLES = ['mangle', 'raw', 'filter', 'nat']
const BUILT_IN = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']

/** Read again and again while nothing of it changes. */
const setsRead = new Map<string, Installed['sets']>()

function setsIn(text: string): Installed['sets'] {
  const known = setsRead.get(text) ?? parseSets(text)
  setsRead.set(text, known)
  return known
}

export class FakeKernel {
  /** Rules by `FAMILY TABLE CHAIN`. */
  readonly chains = new Map<string, string[]>()
  /** Entries by name of the set, its header first. */
  readonly sets = new Map<string, string[]>()
  /** Own routing rules and routes by `FAMILY rule` and `FAMILY route`. */
  readonly routing = new Map<string, string[]>()
  /** Families in which the policy of FORWARD is DROP. */
  readonly drops = new Set<Family>()

  constructor() {
    for (const family of [4, 6])
      for (const table of TABLES)
        for (const name of BUILT_IN) this.chains.set(`${family} ${table} ${name}`, [])
  }

  read(): Installed {
    const sets = [...this.sets].flatMap(([name, [header = '', ...entries]]) => [
      `create ${name} ${header}`,
      ...entries.map((entry) => `add ${name} ${entry}`),
    ])
    return {
      chains: { 4: parseSave(this.save(4)), 6: parseSave(this.save(6)) },
      sets: setsIn(sets.join('\n')),
      routing: { 4: this.routingOf(4), 6: this.routingOf(6) },
    }
  }

  /** Puts a plan into force in the order that it demands: sets, tables, then the sets that nobody uses any more. */
  write({ sets, tables, staleSets, routing }: Plan): void {
    for (const family of [4, 6] as const) for (const line of routing[family].before) this.route(family, line)
    for (const line of lines(sets)) this.ipset(line)
    for (const family of [4, 6] as const) this.restore(family, tables[family])
    for (const name of staleSets) this.destroy(name)
    for (const family of [4, 6] as const) for (const line of routing[family].after) this.route(family, line)
  }

  private routingOf(family: Family): Routing {
    const lines = (kind: string): string[] => this.routing.get(`${family} ${kind}`) ?? []
    return { rules: lines('rule'), routes: lines('route') }
  }

  private route(family: Family, text: string): void {
    const [, kind = '', verb, line = ''] = /^(rule|route) (add|replace|delete) (.*)$/.exec(text) ?? []
    const key = `${family} ${kind}`
    const lines = this.routing.get(key) ?? []
    const at = lines.indexOf(line)
    if (verb === 'delete' ? at < 0 : verb === 'add' && at >= 0) throw new Error(`cannot do ${text}`)
    const slot = (one: string): string => one.slice(one.indexOf(' metric '))
    const rest = lines.filter((one) => one !== line && (verb !== 'replace' || slot(one) !== slot(line)))
    if (verb !== 'delete') rest.push(line)
    if (rest.length > 0) this.routing.set(key, rest)
    else this.routing.delete(key)
  }

  restore(family: Family, text: string): void {
    let table = ''
    for (const line of lines(text)) {
      if (line.startsWith('*')) table = line.slice(1)
      else if (line.startsWith(':')) this.chains.set(`${family} ${table} ${line.slice(1).split(' ')[0]}`, [])
      else if (line !== 'COMMIT') this.rule(family, table, line.replace(/^\[\d+:\d+\] /, ''))
    }
  }

  private rule(family: Family, table: string, line: string): void {
    const [verb, name = '', ...words] = line.split(' ')
    const key = `${family} ${table} ${name}`
    const rules = this.chains.get(key)
    if (!rules) throw new Error(`no chain for ${line}`)
    if (verb === '-A') rules.push(this.checked(family, table, words.join(' ')))
    else if (verb === '-I')
      rules.splice(Number(words[0]) - 1, 0, this.checked(family, table, words.slice(1).join(' ')))
    else if (verb === '-F') rules.length = 0
    else if (verb === '-X') this.deleteChain(key, rules, name)
    else if (verb === '-D' && rules.includes(words.join(' '))) rules.splice(rules.indexOf(words.join(' ')), 1)
    else throw new Error(`cannot do ${line}`)
  }

  private checked(family: Family, table: string, rule: string): string {
    const target = /-[jg] (PVENAT-\S+)/.exec(rule)?.[1]
    if (target !== undefined && !this.chains.has(`${family} ${table} ${target}`))
      throw new Error(`jump to nowhere: ${rule}`)
    for (const [, set = ''] of rule.matchAll(/--match-set (\S+)/g))
      if (!this.sets.has(set)) throw new Error(`no set for ${rule}`)
    return rule
  }

  private deleteChain(key: string, rules: readonly string[], name: string): void {
    const [family, table] = key.split(' ')
    const used = [...this.chains].some(
      ([other, all]) =>
        other.startsWith(`${family} ${table} `) && all.some((rule) => rule.endsWith(` ${name}`)),
    )
    if (used || rules.length > 0) throw new Error(`chain ${name} is in use`)
    this.chains.delete(key)
  }

  private ipset(line: string): void {
    const [verb, name = '', ...words] = line.replace(/ -exist$/, '').split(' ')
    const set = this.sets.get(name)
    if (verb === 'create' && !set) this.sets.set(name, [words.join(' ')])
    else if (verb === 'add' && set && !set.includes(words.join(' '))) set.push(words.join(' '))
    else if (verb === 'del' && set?.includes(words.join(' '))) set.splice(set.indexOf(words.join(' ')), 1)
    else if (verb === 'destroy' && set) this.destroy(name)
    else if (verb === 'swap' && set && this.sets.has(words[0] ?? '')) {
      this.sets.set(name, this.sets.get(words[0] ?? '') as string[])
      this.sets.set(words[0] ?? '', set)
    } else throw new Error(`cannot do ${line}`)
  }

  private destroy(name: string): void {
    if ([...this.chains.values()].flat().some((rule) => rule.includes(`--match-set ${name} `)))
      throw new Error(`set ${name} is in use`)
    this.sets.delete(name)
  }

  private save(family: Family): string {
    const tables = TABLES.map((table) => {
      const own = [...this.chains].filter(([key]) => key.startsWith(`${family} ${table} `))
      const policy = (key: string): string =>
        key === `${family} filter FORWARD` && this.drops.has(family) ? 'DROP' : '-'
      const names = own.map(([key]) => `:${key.split(' ')[2]} ${policy(key)} [0:0]`)
      const rules = own.flatMap(([key, all]) => all.map((rule) => `[1:60] -A ${key.split(' ')[2]} ${rule}`))
      return [`*${table}`, ...names, ...rules, 'COMMIT'].join('\n')
    })
    return tables.join('\n')
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

/** `198.51.100.N`, for entries of sets. */
export function host(n: number): string {
  return formatIp(4, 0xc6336400n + BigInt(n))
}
