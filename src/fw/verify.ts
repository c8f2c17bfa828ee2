/** The semantic checks on a rule, in upstream's order and words. Facts: pve-firewall Firewall.pm, `verify_rule`. */
import { judgeAddressList } from './addresses.ts'
import { isTrue } from './bytes.ts'
import { icmpFamily, isIcmpTypeName } from './icmptypes.ts'
import { canonicalMacro, macroClash } from './macros.ts'
import type { FwRule, ReadContext, RuleEnv, RuleField } from './fw-file.ts'
import { aliasReference, isName, setReference } from './names.ts'
import { parsePortList } from './ports.ts'
import { aliasExists, findAlias, setExists, type Scope } from './scope.ts'

/** What a rule is judged against. */
interface Judge {
  env: RuleEnv
  scope: Scope
  context: ReadContext
}

const TYPES: Readonly<Record<RuleEnv, readonly string[]>> = {
  cluster: ['in', 'out', 'forward', 'group'],
  host: ['in', 'out', 'forward', 'group'],
  vm: ['in', 'out', 'group'],
  ct: ['in', 'out', 'group'],
  group: ['in', 'out', 'forward'],
  vnet: ['forward', 'group'],
}

// prettier-ignore
const WITH_PORTS: ReadonlySet<string | undefined> = new Set([
  'tcp', '6', 'udp', '17', 'udplite', '136', 'dccp', '33', 'sctp', '132',
])

const MIXED = 'detected mixed ipv4/ipv6 addresses in rule'

type AddError = (field: RuleField, message: string) => void

function judgeTypeAndAction({ type, action }: FwRule, env: RuleEnv, error: AddError): void {
  if (!isTrue(type)) error('type', 'missing property')
  if (!isTrue(action)) error('action', 'missing property')
  if (!isTrue(type)) return
  if (!TYPES[env].includes(type)) error('type', `invalid rule type '${type}' for rule_env '${env}'`)
  if (type === 'group') {
    if (isTrue(action) && !isName(action)) error('action', 'invalid characters in security group name')
  } else if (type === 'in' || type === 'out' || type === 'forward') {
    if (type === 'forward' && action === 'REJECT')
      error('action', 'cannot define REJECT rules on forward chain')
    if (isTrue(action) && !['ACCEPT', 'DROP', 'REJECT'].includes(action))
      error('action', `unknown action '${action}'`)
  }
}

function judgeInterface({ iface }: FwRule, env: RuleEnv, error: AddError): void {
  if (!isTrue(iface)) return
  if (env === 'group' || env === 'vnet') error('type', 'parameter -i not allowed for this rule type')
  // pve-common JSONSchema.pm, pve_verify_iface: no hyphen.
  if (!/^[a-z][a-z0-9_]{1,20}(?:[:.]\d+)?$/i.test(iface))
    error('iface', `invalid network interface name '${iface}'`)
  if ((env === 'vm' || env === 'ct') && !/^net\d+$/.test(iface))
    error('iface', "value does not match the regex pattern 'net\\d+'")
}

function judgeProtocol({ proto }: FwRule, protocols: ReadonlySet<string>, error: AddError): void {
  // Upstream adds icmpv6 to what /etc/protocols lists.
  if (isTrue(proto) && proto !== 'icmpv6' && !protocols.has(proto))
    error('proto', `unknown protocol '${proto}'`)
}

function judgePorts(
  rule: FwRule,
  field: 'dport' | 'sport',
  services: ReadonlyMap<string, number>,
  error: AddError,
): void {
  const value = rule[field]
  if (!isTrue(value)) return
  const icmp = field === 'dport' && icmpFamily(rule.proto) !== undefined
  const list = parsePortList(value, services, icmp)
  if ('error' in list) error(field, list.error)
  if (!isTrue(rule.proto)) error('proto', `missing property - '${field}' requires this property`)
  if (!WITH_PORTS.has(rule.proto) && !icmp)
    error(field, `protocol '${rule.proto ?? ''}' does not support ports`)
}

function judgeIcmpType(rule: FwRule, error: AddError): void {
  const type = rule['icmp-type']
  if (!isTrue(type)) return
  const family = icmpFamily(rule.proto)
  if (family === undefined) error('proto', "missing property - 'icmp-type' requires this property")
  if (isTrue(rule.dport)) error('icmp-type', "'icmp-type' cannot be specified together with 'dport'")
  if (family !== undefined && !isIcmpTypeName(type, family))
    error('icmp-type', `invalid icmp-type '${type}' for proto '${rule.proto}'`)
}

type Family = 4 | 6 | undefined

/** Judges one address field; returns the rule's family after it, or `skip` when upstream gives up on the whole line. */
function judgeAddress(
  rule: FwRule,
  field: 'source' | 'dest',
  before: Family,
  scope: Scope,
  error: AddError,
): Family | 'skip' {
  const value = rule[field]
  if (!isTrue(value)) return before
  const list = judgeAddressList(value)
  let family = before
  if ('error' in list) error(field, list.error)
  else if (list.version !== undefined && before !== undefined && list.version !== before) error(field, MIXED)
  else family = list.version ?? before
  if (value.startsWith('+')) {
    const set = setReference(value)
    if (set === undefined) error(field, `invalid ipset name '${value}'`)
    else if (!setExists(set, scope)) error(field, `no such ipset '${set.name}'`)
  }
  const reference = aliasReference(value)
  if (reference === undefined) return family
  if (!aliasExists(reference, scope)) error(field, `no such alias '${value}'`)
  const version = findAlias(reference, scope)?.ipversion
  if (version === undefined) return family
  return family !== undefined && version !== family ? 'skip' : version
}

function judgeMacro(rule: FwRule, error: AddError): void {
  if (!isTrue(rule.macro)) return
  const canonical = canonicalMacro(rule.macro)
  if (canonical === undefined) error('macro', `unknown macro '${rule.macro}'`)
  else rule.macro = canonical
}

/**
 * Judges a rule that `parseRuleLine` read and completes it in place: errors, ipversion, the macro's canonical name. Returns
 * the reason when upstream drops the line instead: an alias of one family in a rule already bound to the other.
 */
export function judgeRule(rule: FwRule, { env, scope, context }: Judge): string | undefined {
  const errors: Partial<Record<RuleField, string>> = {}
  const error: AddError = (field, message) => {
    errors[field] ??= message
  }
  judgeTypeAndAction(rule, env, error)
  judgeInterface(rule, env, error)
  judgeMacro(rule, error)
  judgeProtocol(rule, context.protocols, error)
  judgePorts(rule, 'dport', context.services, error)
  judgeIcmpType(rule, error)
  judgePorts(rule, 'sport', context.services, error)
  const afterSource = judgeAddress(rule, 'source', icmpFamily(rule.proto), scope, error)
  if (afterSource === 'skip') return MIXED
  const family = judgeAddress(rule, 'dest', afterSource, scope, error)
  if (family === 'skip') return MIXED
  if (family !== undefined) rule.ipversion = family
  if (isTrue(rule.macro) && Object.keys(errors).length === 0) {
    const clash = macroClash(rule, family)
    if (clash !== undefined) error(clash.field, clash.message)
  }
  if (Object.keys(errors).length > 0) rule.errors = errors
  return undefined
}
