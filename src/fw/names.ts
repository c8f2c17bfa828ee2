/** Names of aliases, ipsets and groups, and references to them. Facts: pve-firewall Firewall.pm, `*_name_pattern`. */

/** Longest name of an ipset, in characters. A reference may be one longer: its `+`. */
export const MAX_SET_NAME = 64
/** Longest reference to an alias, scope included, in characters. */
export const MAX_ALIAS_NAME = 64
/** Longest name of a security group, in characters. */
export const MAX_GROUP_NAME = 18

/** A reference, split: `dc/web` is scope `dc`, name `web`. The name is as typed. */
export interface Reference {
  scope?: 'guest' | 'dc' | 'sdn'
  name: string
}

/** True of a letter followed by one or more letters, digits, `-`, `_`. */
export function isName(text: string): boolean {
  return /^[A-Za-z][A-Za-z0-9_-]+$/.test(text)
}

function reference(text: string, scopes: readonly ('guest' | 'dc' | 'sdn')[]): Reference | undefined {
  const scope = scopes.find((one) => text.startsWith(`${one}/`))
  const name = scope === undefined ? text : text.slice(scope.length + 1)
  if (!isName(name)) return undefined
  return scope === undefined ? { name } : { scope, name }
}

/** Reads `name`, `guest/name`, `dc/name`; undefined when the text is no reference to an alias. The scope is case-sensitive. */
export function aliasReference(text: string): Reference | undefined {
  return reference(text, ['guest', 'dc'])
}

/** Reads `+name`, `+guest/name`, `+dc/name`, `+sdn/name`; undefined when the text is no reference to an ipset. */
export function setReference(text: string): Reference | undefined {
  return text.startsWith('+') ? reference(text.slice(1), ['guest', 'dc', 'sdn']) : undefined
}
