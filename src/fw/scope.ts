/** What the names in one file refer to. Facts: pve-firewall Firewall.pm, `verify_rule` and `resolve_alias`. */
import { asciiLower } from './bytes.ts'
import type { FwAlias, FwFile } from './fw-file.ts'
import { aliasReference, type Reference } from './names.ts'

/**
 * Where names are looked up: the cluster's file, and the file that the line stands in, so far as it has been read. For a
 * line of cluster.fw both are the same, except in a security group, which has no file of its own.
 */
export interface Scope extends Names {
  sdnSets?: ReadonlySet<string>
}

interface Names {
  cluster?: FwFile | undefined
  own?: FwFile | undefined
}

/** True if any scope has the alias: a rule that names it passes, although the scope it asks for may lack it. */
export function aliasExists({ name }: Reference, { cluster, own }: Names): boolean {
  const key = asciiLower(name)
  return cluster?.aliases.has(key) === true || own?.aliases.has(key) === true
}

/** The alias that a reference means: the own file's before the cluster's, `guest/` and `dc/` only theirs. */
export function findAlias({ scope, name }: Reference, { cluster, own }: Names): FwAlias | undefined {
  const key = asciiLower(name)
  return (
    (scope === 'dc' ? undefined : own?.aliases.get(key)) ??
    (scope === 'guest' ? undefined : cluster?.aliases.get(key))
  )
}

/** The address that an entry of an ipset names, itself or by an alias; undefined when there is no such alias. */
export function entryCidr(cidr: string, scope: Names): string | undefined {
  const reference = aliasReference(cidr)
  return reference ? findAlias(reference, scope)?.cidr : cidr
}

/** True if any scope has the ipset. Names of sets are stored in lower case, references are not lowered. */
export function setExists({ name }: Reference, { cluster, own, sdnSets }: Scope): boolean {
  return cluster?.ipset.has(name) === true || own?.ipset.has(name) === true || sdnSets?.has(name) === true
}
