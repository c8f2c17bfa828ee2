/** NAT rules of others as rules of the GUI, and what would come of them: they are compiled beside the rules that are there. */
import { isError, word } from '../diagnostic.ts'
import { keeperOf } from '../facts/keepers.ts'
import type { FwFile, FwRule } from '../fw/fw-file.ts'
import { groupBy } from '../lists.ts'
import { guestFw, hostFw, type View } from '../nat/view.ts'
import { compile } from '../pipeline.ts'
import type { Look } from '../read.ts'
import { becomeAll } from './becomes.ts'
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
}

export interface Imported {
  written: Written
  becomes: Becomes
  /** Of a rule. */
  tried?: Tried
}

/** What a guest's file may not ask for becomes a rule of the node, where that may. */
export function importAll(look: Look, written: readonly Written[]): Imported[] {
  const { view } = compile(look)
  const all = becomeAll(written, view)
  const first = tryRules(look, view, rulesOf(all))
  const moved = all.map(({ written: one, becomes }) => {
    const isRefused =
      'rule' in becomes && first.get(becomes.rule)?.problems.some((problem) => problem.isError)
    if (!isRefused || becomes.rule.vmid === undefined) return { written: one, becomes }
    const address = becomes.rule.type === 'in' ? one.to?.address : one.source
    return { written: one, becomes: address ? { rule: asNodeRule(becomes.rule, address, view) } : becomes }
  })
  const second = tryRules(look, view, rulesOf(moved))
  const failed = (becomes: Becomes): number =>
    'rule' in becomes
      ? ((second.get(becomes.rule) ?? first.get(becomes.rule))?.problems.filter((one) => one.isError)
          .length ?? 0)
      : 0
  return all.map((one, i): Imported => {
    const other = moved[i] ?? one
    const { becomes } = failed(other.becomes) === 0 ? other : one
    const tried = 'rule' in becomes ? (second.get(becomes.rule) ?? first.get(becomes.rule)) : undefined
    return { written: one.written, becomes, ...(tried ? { tried } : {}) }
  })
}

/**
 * The rules that can be switched over: those in force that have something in their place. What pvenat does by itself serves its own forwards
 * alone, so while another rule that somebody wrote stays, the rules for that stay, too.
 */
export function switchable(all: readonly Imported[]): Imported[] {
  const installed = all.filter(({ written }) => written.loaded && keeperOf(written.text) === undefined)
  const isReplaced = ({ becomes, tried }: Imported): boolean =>
    'rule' in becomes && !(tried?.problems.some((one) => one.isError) ?? false)
  const isDone = (one: Imported): boolean => isReplaced(one) || 'builtIn' in one.becomes
  const areAll = installed.every((one) => isDone(one) || 'isDead' in one.becomes)
  const isOut = (one: Imported): boolean => isReplaced(one) || (areAll && isDone(one))
  // A rule of nft is there once for each family and for each way to it.
  const isSame = (one: Written, other: Written): boolean => one.from === other.from && one.text === other.text
  return installed.filter(({ written }) =>
    installed.every((one) => !isSame(one.written, written) || isOut(one)),
  )
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
  const told = groupBy(translation.diagnostics, ({ place }) => `${place.file}:${place.span.line}`)
  return new Map(
    rules.map((rule) => {
      const there = findRule(rule, view)
      const ofRule = there ? [] : (told.get(places.get(rule) ?? '') ?? [])
      const problems = ofRule.map((one) => ({ isError: isError(one), message: word(one).message }))
      return [rule, { ...(there ? { there } : {}), problems }]
    }),
  )
}

/** Where a rule stands; undefined when it is not there. */
export function findRule(rule: GuiRule, view: View): There | undefined {
  const rules = fileOf(rule, view).rules
  const position = rules.findIndex((one) => isSame(one, rule))
  const found = rules[position]
  return found && { position, line: found.span.line, isOn: found.enable === 1 }
}

function fileOf({ file }: GuiRule, view: View): FwFile {
  if (file === hostFw(view.node)) return view.host
  const owned = view.guests.find(({ guest }) => guestFw(guest.vmid) === file)
  return owned ? owned.fw : view.cluster
}

const FIELDS = ['type', 'source', 'dest', 'proto', 'dport', 'comment'] as const

function isSame(one: FwRule, rule: GuiRule): boolean {
  return (
    one.action === 'ACCEPT' && one.macro === undefined && FIELDS.every((name) => one[name] === rule[name])
  )
}
