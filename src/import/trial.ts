/** NAT rules of others as rules of the GUI, and what would come of them: they are compiled beside the rules that are there. */
import { isError, placeName, word } from '../diagnostic.ts'
import { keeperOf } from '../facts/keepers.ts'
import type { FwRule } from '../fw/fw-file.ts'
import { groupBy } from '../lists.ts'
import type { Forward } from '../nat/nat-rule.ts'
import { fileAt, type View } from '../nat/view.ts'
import { compile } from '../pipeline.ts'
import type { Look } from '../read.ts'
import { becomeAll } from './becomes.ts'
import { isTaken, servedBy } from './existing.ts'
import { asNodeRule, ruleLine, type Becomes, type GuiRule } from './guirule.ts'
import type { Written } from './foreign-rule.ts'

/** A rule of a .fw file. */
interface There {
  /** In the list of its file, counted from 0 as the API does. */
  position: number
  line: number
  isOn: boolean
}

export interface Tried {
  /** The rule is there already. */
  there?: There
  /** Why it would not be in force, or what is to be known of it. */
  problems: { isError: boolean; message: string }[]
  /** What it would forward. */
  forwards: Forward[]
}

export interface Imported {
  written: Written
  becomes: Becomes
  /** Of a rule. */
  tried?: Tried
}

/** What a guest's file may not ask for becomes a rule of the node, where that may and takes nothing from rules that are there. */
export function importAll(look: Look, written: readonly Written[]): Imported[] {
  const { view, translation } = compile(look)
  const existing = translation.rules.filter(({ state, kind }) => state === 'active' && kind === 'forward')
  const becomings = becomeAll(written, view)
  const first = tryRules(look, view, rulesOf(becomings))
  const moved = becomings.map(({ written: one, becomes }) => {
    const tried = 'rule' in becomes ? first.get(becomes.rule) : undefined
    if (!('rule' in becomes) || !tried || !isFailing(tried)) return { written: one, becomes }
    const address = becomes.rule.type === 'in' ? one.to?.address : one.source
    const isOfGuest = becomes.rule.vmid !== undefined
    const rule = address && isOfGuest ? asNodeRule(becomes.rule, address, view) : undefined
    if (rule && findRule(rule, view)) return { written: one, becomes: { rule } }
    const same = servedBy(tried.forwards, existing)
    if (same) return { written: one, becomes: { builtIn: `${placeName(same.place)} does the same` } }
    return { written: one, becomes: rule && !isTaken(tried.forwards, existing) ? { rule } : becomes }
  })
  const second = tryRules(look, view, rulesOf(moved))
  const triedOf = (becomes: Becomes): Tried | undefined =>
    'rule' in becomes ? (second.get(becomes.rule) ?? first.get(becomes.rule)) : undefined
  return becomings.map((one, i): Imported => {
    const other = moved[i] ?? one
    const failing = triedOf(other.becomes)
    const { becomes } = failing && isFailing(failing) ? one : other
    const tried = triedOf(becomes)
    return { written: one.written, becomes, ...(tried ? { tried } : {}) }
  })
}

function isFailing({ problems }: Tried): boolean {
  return problems.some((one) => one.isError)
}

/**
 * The rules that can be switched over: those in force that have something in their place, and the dead ones behind them, which would come to
 * life. What pvenat does by itself serves its own forwards alone, so while another rule that somebody wrote stays, the rules for that stay, too.
 */
export function switchable(all: readonly Imported[]): Imported[] {
  const installed = all.filter(({ written }) => written.loaded && keeperOf(written.text) === undefined)
  const isReplaced = ({ becomes, tried }: Imported): boolean =>
    'rule' in becomes && !(tried && isFailing(tried))
  const isDone = (one: Imported): boolean => isReplaced(one) || 'builtIn' in one.becomes
  const areAll = installed.every((one) => isDone(one) || deadBehind(one))
  // A rule of nft is there once for each family and for each way to it.
  const isSame = (one: Written, other: Written): boolean => one.from === other.from && one.text === other.text
  const whole = (isOut: (one: Imported) => boolean): Imported[] =>
    installed.filter(({ written }) => installed.every((one) => !isSame(one.written, written) || isOut(one)))
  const replaced = whole((one) => isReplaced(one) || (areAll && isDone(one)))
  const gone = new Set<Written | undefined>(replaced.map(({ written }) => written))
  return whole((one) => gone.has(one.written) || gone.has(deadBehind(one)))
}

/** The rule that lets no packet through to this one. */
export function deadBehind({ becomes }: Imported): Written | undefined {
  return 'stays' in becomes ? becomes.deadBehind : undefined
}

export function rulesOf(all: readonly { becomes: Becomes }[]): GuiRule[] {
  return all.flatMap(({ becomes }) => ('rule' in becomes ? [becomes.rule] : []))
}

/** The rules that are not there. A new rule comes to stand on top of its file, so that the last one is created first. */
export function inOrderOfCreation(all: readonly Imported[]): GuiRule[] {
  return rulesOf(all.filter(({ tried }) => !tried?.there)).reverse()
}

/** Judges rules as if they were switched on, and the firewall, too. */
export function tryRules(look: Look, view: View, rules: readonly GuiRule[]): Map<GuiRule, Tried> {
  const fw = new Map(look.tree.fw)
  const places = new Map<GuiRule, string>()
  for (const rule of rules) {
    // An own section at the end: whatever stood last in the file stays as it is.
    const lines = [...(fw.get(rule.file) ?? '').replace(/\n$/, '').split('\n'), '[RULES]', ruleLine(rule)]
    fw.set(rule.file, `${lines.join('\n')}\n`)
    places.set(rule, `${rule.file}:${lines.length}`)
  }
  const settings = { ...look.settings, requireFirewall: false }
  const { translation } = compile({ ...look, settings, tree: { ...look.tree, fw } })
  const rulesAt = groupBy(translation.rules, ({ place }) => `${place.file}:${place.span.line}`)
  const told = groupBy(translation.diagnostics, ({ place }) => `${place.file}:${place.span.line}`)
  return new Map(
    rules.map((rule) => {
      const there = findRule(rule, view)
      const ofRule = there ? [] : (told.get(places.get(rule) ?? '') ?? [])
      const problems = ofRule.map((one) => ({ isError: isError(one), message: word(one).message }))
      const forwards = (rulesAt.get(places.get(rule) ?? '') ?? []).flatMap((one) => one.forwards)
      return [rule, { ...(there ? { there } : {}), problems, forwards }]
    }),
  )
}

/** Where a rule stands; undefined when it is not there. */
export function findRule(rule: GuiRule, view: View): There | undefined {
  const { rules = [] } = fileAt(view, rule.file) ?? {}
  const position = rules.findIndex((one) => isSame(one, rule))
  const found = rules[position]
  return found && { position, line: found.span.line, isOn: found.enable === 1 }
}

const FIELDS = ['type', 'source', 'dest', 'proto', 'dport', 'comment'] as const

function isSame(one: FwRule, rule: GuiRule): boolean {
  return (
    one.action === 'ACCEPT' && one.macro === undefined && FIELDS.every((name) => one[name] === rule[name])
  )
}
