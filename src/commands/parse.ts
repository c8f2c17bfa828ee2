/** `parse`: every file as pve-firewall reads it. */
import { fileToJson } from '../fw/json.ts'
import type { FwFile, FwRule } from '../fw/fw-file.ts'
import { CLUSTER_FW, guestFw, hostFw } from '../nat/view.ts'
import { lookOnce } from '../node/look.ts'
import { readView } from '../read.ts'
import { printable } from '../show/diagnostics.ts'
import type { Context } from './context.ts'

export async function parseCommand({ io, json, paths }: Context): Promise<number> {
  const view = readView(await lookOnce(paths))
  const guests = view.guests.map(({ guest, fw }) => [guest.vmid, fw] as const)
  if (json) {
    const all = Object.fromEntries(guests.map(([vmid, fw]) => [vmid, fileToJson(fw)]))
    io.stdout(
      `${JSON.stringify({ cluster: fileToJson(view.cluster), host: fileToJson(view.host), guests: all }, null, 1)}\n`,
    )
    return 0
  }
  io.stdout(describeFile(CLUSTER_FW, view.cluster) + describeFile(hostFw(view.node), view.host))
  for (const [vmid, fw] of guests) io.stdout(describeFile(guestFw(vmid), fw))
  return 0
}

function describeFile(name: string, { rules, groups, skipped }: FwFile): string {
  const inGroups = [...groups].flatMap(([group, { rules: own }]) =>
    own.map((rule) => describeRule(rule, ` [group ${group}]`)),
  )
  const lost = skipped.map(({ span, reason }) => `  ${span.line}: skipped: ${reason}`)
  const lines = [...rules.map((rule) => describeRule(rule, '')), ...inGroups, ...lost].map(printable)
  return [name, ...lines, ''].join('\n')
}

function describeRule(rule: FwRule, group: string): string {
  const fields = (['iface', 'source', 'dest', 'proto', 'dport', 'sport', 'icmp-type'] as const).flatMap(
    (field) => (rule[field] === undefined ? [] : [`${field}=${rule[field]}`]),
  )
  const action = rule.macro === undefined ? rule.action : `${rule.macro}(${rule.action})`
  const errors = Object.entries(rule.errors ?? {}).map(([field, message]) => `error: ${field}: ${message}`)
  const words = [`${rule.span.line}:${group}`, rule.enable ? 'on' : 'off', rule.type, action, ...fields]
  return ['', ...words, ...(rule.comment === undefined ? [] : [`# ${rule.comment}`]), ...errors].join(' ')
}
