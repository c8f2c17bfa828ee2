/**
 * The closed list of codes and their words: severity, sentence and help line of every diagnostic stand here, the
 * longer ones in sentences.ts, and nowhere else.
 * What can be typed is apart from the help, as a list of proposals.
 */
import { advise, clip, error, info, propose, warning, type Advice, type Wish, type Words } from './advice.ts'
import * as sentence from './sentences.ts'

/** Sentences of explain/foresee.ts, nat/forward.ts and nat/networks.ts. */
type Said = Record<'what' | 'help', string>
const said = ({ what, help }: Said): Words => [what, help]

/** `by` at `at` keeps packets out until `command` was typed. */
type Refused = Record<'what' | 'by' | 'at' | 'command', string>
const refused = (what: string, { by, at, command }: Refused): Words => [
  `${what}: ${by} (${at})`,
  command,
  [command],
]

export const WORDINGS = {
  // How pve-firewall reads the file.
  'line-skipped': error<{ reason: string }>(({ reason }) => [
    `pve-firewall skips this line (${reason}), so its NAT comment does nothing`,
    'edit the rule in the GUI, which writes it in the form that pve-firewall reads',
  ]),
  'rule-invalid': error<{
    field: string
    reason: string
    help?: string | undefined
    proposal?: string | undefined
  }>(({ field, reason, help, proposal }) => [
    `pve-firewall rejects this rule: ${field}: ${reason}`,
    help,
    [proposal],
  ]),
  'forward-rule': error<object>(() => [
    'a FORWARD rule cannot be NAT',
    'use direction in (a port forward) or out (masquerade)',
  ]),
  'group-missing': warning<{ group: string }>(({ group }) => [
    `there is no security group '${group}' in cluster.fw, so whatever NAT it should bring is not in force`,
    group === group.toLowerCase() ? undefined : `group names are kept in lower case: ${group.toLowerCase()}`,
  ]),
  'group-marked': warning<object>(() => [
    'NAT on a GROUP rule does nothing',
    'begin the comments of the rules inside the group with NAT',
  ]),
  'firewall-off': warning<{ what: string; option: string }>(({ what, option }) => [
    `${what} is off, so the NAT rules that depend on it are not in force`,
    option,
  ]),
  'guest-action': error<{ action: string }>(({ action }) => [
    `only ACCEPT rules of a guest make NAT, not ${action}`,
    'put DROP and REJECT rules that are marked NAT into the node or datacenter firewall',
  ]),
  // The comment.
  'endpoint-invalid': error<{ word: string; why: string } & Advice>(({ word, why, ...advice }) => [
    `'${clip(word, 60)}' is no valid endpoint: ${why}`,
    ...advise(advice),
  ]),
  'endpoint-any': error<{ word: string; meant: string }>(({ word, meant }) => [
    `'${word}' names no address of this node; a comment without an address means each of them`,
    ...advise({ meant }),
  ]),
  'endpoint-direction': error<{ word: string; meant: string }>(({ word, meant }) => [
    `an OUT rule takes an address or 'none', not ports: '${clip(word, 60)}'`,
    ...advise({ meant }),
  ]),
  'endpoint-late': error<{ word: string } & Advice>(({ word, ...advice }) => [
    `'${clip(word, 60)}' stands behind an option; ports and addresses come first`,
    ...advise(advice),
  ]),
  'text-grammar': error<{ text: string; would: string } & Advice>(({ text, would, ...advice }) => [
    `'${clip(text, 60)}' is free text here; without it this rule would ${would}`,
    ...advise(advice),
  ]),
  'text-against': error<{ text: string } & Advice>(({ text, ...advice }) => [
    `'${clip(text, 60)}' is free text here, and says another thing than the words before it`,
    ...advise(advice),
  ]),
  'text-ignored': warning<{ text: string } & Advice>(({ text, ...advice }) => [
    `'${clip(text, 60)}' is free text here and does nothing`,
    ...advise(advice),
  ]),
  'near-miss': info<{ word: string; meant: string }>(({ word, meant }) => [
    `'${clip(word, 60)}' does not begin with NAT and a blank, so it is no NAT`,
    `if NAT is meant: ${meant}${meant.startsWith('NAT - ') ? '; behind a lone - all is text' : ''}`,
    [meant],
  ]),
  asked: info(sentence.asked),
  'option-unknown': warning<{ word: string } & Advice>(({ word, ...advice }) => [
    `unknown option '${clip(word, 60)}' is ignored`,
    ...advise(advice),
  ]),
  'option-in-text': warning<{ word: string; meant: string | undefined }>(({ word, meant }) => [
    `'${clip(word, 60)}' stands in the free text and does nothing`,
    meant === undefined ? 'move the option before the text' : `move the option before the text: ${meant}`,
    [meant],
  ]),
  'option-value': error<{ word: string; expected: string; meant: string | undefined }>(
    ({ word, expected, meant }) => [
      `bad value in '${clip(word, 60)}': expected ${expected}`,
      ...advise({ meant }),
    ],
  ),
  'option-twice': error<{ option: string }>(({ option }) => [`option '${option}' is given twice`]),
  'option-direction': error<{ option: string; direction: string }>(({ option, direction }) => [
    `option '${option}' has no meaning in ${direction} rules`,
  ]),
  'network-form': error<Said>(said),
  'network-refused': error<Said>(said),
  'network-held': error<Said>(said),
  'network-left': info<{ what: string }>(({ what }) => [what]),
  'network-unanswered': warning(sentence.networkUnanswered),
  'option-conflict': error<{ reason: string }>(({ reason }) => [reason]),
  // Ports.
  'ports-missing': error<{ typed: string | undefined }>(({ typed }) => [
    'which ports? the rule names neither a destination port nor an external port',
    typed === undefined
      ? 'set the destination port in the GUI'
      : `set the destination port in the GUI, or write the external port into the comment: ${typed}`,
  ]),
  'ports-zero': error<object>(() => ['port 0 cannot be forwarded', 'set a port from 1 to 65535']),
  'ports-twice': error<{ comment: string; sport: string }>(({ comment, sport }) => [
    `the external ports are named twice and differ: ${comment} in the comment, ${sport} as source port`,
    'clear the source port of the rule',
  ]),
  'ports-docker': error<{ text: string; count: number } & Advice>(({ text, count, meant }) => [
    `${text} is a range of ${count} ports; the inner port is not named here, it is the rule's destination port`,
    ...propose('for one port write', meant),
  ]),
  'ports-unpaired': error<{ external: string; inner: string }>(({ external, inner }) => [
    `external ports ${external} do not pair with inner ports ${inner}`,
    'name as many external ports as inner ones, in the same order and of equal widths',
  ]),
  'proto-unsupported': error<{ proto: string; help: string }>(({ proto, help }) => [
    `protocol ${proto} cannot be forwarded`,
    help,
  ]),
  'proto-ports': error<{ proto: string }>(({ proto }) => [
    `protocol ${proto} has no ports, so none can be forwarded`,
    'clear the ports in the comment',
  ]),
  'macro-part': warning<{ proto: string; macro: string }>(({ proto, macro }) => [
    `the ${proto} part of macro ${macro} is not forwarded`,
  ]),
  // Addresses.
  'address-unsupported': error<{ text: string; meant: string | undefined }>(({ text, meant }) => [
    `'${text}' is a form of address that pvenat does not take`,
    ...propose('write', meant, `write it in full, as ADDRESS or ADDRESS/LENGTH`),
  ]),
  'alias-missing': error<sentence.Missing>((facts) => sentence.missing('alias', facts)),
  'set-missing': error<sentence.Missing>((facts) => sentence.missing('ipset', facts)),
  'set-empty': warning<{ name: string }>(({ name }) => [
    `ipset '${name}' is empty, so this rule matches nothing`,
  ]),
  'set-exception': error<{ name: string; entry: string; reason: string }>(({ name, entry, reason }) => [
    `ipset '${name}' has an exception '${entry}' that cannot be honoured: ${reason}`,
    'correct or delete that entry; without it the rule would match more than the set says',
  ]),
  'dest-missing': error<sentence.Typed>(({ typed }) => [
    'where to? the rule names no destination',
    sentence.nameInner(typed),
  ]),
  'dest-external': error<{ address: string; meant: string }>(({ address, meant }) => [
    `${address} is this node's own address, not where a guest is`,
    `leave the destination empty and write the address into the comment: ${meant}`,
    [meant],
  ]),
  'dest-many': error<{ text: string; hosts: readonly string[] }>(({ text, hosts }) => [
    `the destination of a forward must be one address or an alias of one, not '${text}'`,
    `set the destination to ${[...hosts].join(' or ') || 'the inner address'}`,
    [...hosts],
  ]),
  'family-mixed': error<{ a: string; b: string }>(({ a, b }) => [
    `${a} and ${b} are of different families (IPv4 and IPv6)`,
  ]),
  'guest-address': error<
    Record<'guest' | 'nic' | 'looked', string> & {
      refused: readonly string[]
      mend: string | undefined
    } & sentence.Typed
  >(({ guest, nic, looked, refused, typed, mend }, { isTenant }) => [
    [
      `no address is known for ${nic} of guest ${guest}`,
      `looked in ${looked}`,
      ...(isTenant ? [] : refused),
    ].join('; '),
    mend ?? sentence.nameInner(typed),
  ]),
  'guest-nic': error<{ guest: string; nic: string }>(({ guest, nic }) => [`guest ${guest} has no ${nic}`]),
  'guest-external': error<{
    address: string
    bridge: string
    granted: string
    meant: string
    network: string | undefined
  }>(({ address, bridge, granted, meant, network }) => [
    `${address} sits in the external network ${bridge} and would answer past this node`,
    `${network === undefined ? '' : `${sentence.addInternal(network)}; else `}its answers come back with snat=1: ${meant}${granted}`,
    [meant],
  ]),
  'guest-outside': error<{ guest: string; network: string | undefined }>(({ guest, network }) => [
    `guest ${guest} is on no internal network of this node, so nothing of it leaves through this node's NAT`,
    network && sentence.addInternal(network),
  ]),
  'full-shared': warning(sentence.fullShared),
  'full-whole': warning(sentence.fullWhole),
  'external-none': warning<Said>(({ what, help }) => [
    `not in force: this node has no external ${what}`,
    help,
  ]),
  elsewhere: info<{ what: string }>(({ what }) => [`in force on the node that has ${what}, not on this one`]),
  'external-unknown': error(sentence.externalUnknown),
  'interface-unknown': error(sentence.interfaceUnknown),
  'helper-shifted': warning<sentence.Shifted>(sentence.shifted),
  'guest-drops': warning<Refused>((one) => refused(`the firewall of guest ${one.what}`, one)),
  'guest-cut': warning<Said>(said),
  'forward-drops': warning<Refused>((one) => refused('the nftables firewall does not forward it', one)),
  'foreign-drops': warning<{ what: string; place: string; commands: string[]; instead: string }>(
    ({ what, place, commands, instead }, { isTenant }) => [
      `a rule that is not pvenat's ${what}${isTenant ? '' : `: ${place}`}`,
      isTenant ? undefined : commands.join('; ') || instead,
      isTenant ? [] : commands,
    ],
  ),
  'answers-elsewhere': warning<Said>(said),
  'service-hidden': warning<Said>(said),
  'leads-inward': warning<{ destination: string; name: string; canBe: boolean }>(
    ({ destination, name, canBe }) => [
      `${destination} leads by ${name}, which is no external interface, so nothing is translated on the way there`,
      canBe ? sentence.addExternal(name) : undefined,
    ],
  ),
  'leads-nowhere': warning(sentence.leadsNowhere),
  'source-public': info<{ networks: string }>(({ networks }) => [
    `${networks} is public and leaves as it is, not translated`,
    `to translate it all the same, write it into the rule as its source: ${networks}`,
  ]),
  'interface-address': error<{ name: string; address: string }>(({ name, address }) => [
    `${address} is not an address of ${name}`,
  ]),
  // Who may do what.
  'port-reserved': error<{ port: string; holder: string; help?: string } & Wish>(
    ({ port, holder, help, proposal }) => [
      `${sentence.portOrProtocol(port)} belongs to this node (${holder})`,
      ...propose('pick a free port', proposal, help),
    ],
  ),
  'port-kept': error<{ port: string; holder: string; until: string }>(({ port, holder, until }) => [
    `${sentence.portOrProtocol(port)} stays with this node until ${until}, in case its service (${holder}) comes back`,
    ...propose("the node's administrator hands it over now with", 'pvenat apply --hand-over'),
  ]),
  held: error<{ what: string; vmid: number }>(({ what, vmid }, { isTenant }) => [
    `${what} belongs to ${isTenant ? 'another guest' : `guest ${vmid}`}, which keeps it until its own rule for it goes`,
    isTenant ? 'take another one' : `take another one, or switch the rule of guest ${vmid} off`,
  ]),
  'snat-forbidden': error<{ guest: string; vmid: number; lacks: string; address: string }>((facts) => [
    `guest ${facts.guest} may not speak as this node to ${facts.address} (snat=1)`,
    `an administrator allows it in pvenat.conf, section [guest ${facts.vmid}]: ${facts.lacks}`,
  ]),
  'port-forbidden': error<{ ports: string; guest: string; allowed: string } & Wish>(
    ({ ports, guest, allowed, proposal }) => [
      `guest ${guest} may not use external port ${ports}`,
      ...propose(`pick a free port of ${allowed}`, proposal, `pick a port from ${allowed}`),
    ],
  ),
  'block-none': error(sentence.blockNone),
  'block-full': error(sentence.blockFull),
  'auto-has': error(sentence.autoHas),
  'auto-moved': warning(sentence.autoMoved),
  'block-taken': error(sentence.blockTaken),
  'block-unknown': error(sentence.blockUnknown),
  'address-forbidden': error<{ address: string; guest: string; allowed: string }>(
    ({ address, guest, allowed }) => [
      `guest ${guest} may not use external address ${address}`,
      `its external addresses are: ${allowed}`,
    ],
  ),
  'uplink-forbidden': error(sentence.uplinkBarred),
  'guest-foreign': error<{ address: string; guest: string; own: string }>(({ address, guest, own }) => [
    `${address} is not an address of guest ${guest}`,
    own === ''
      ? 'put the rule into the datacenter or node firewall'
      : `its own addresses are: ${own}; rules for others belong into the datacenter or node firewall`,
  ]),
  'port-taken': error(sentence.taken),
  // Not translated (yet), or without effect.
  'nft-sport': warning<{ sport: string; dport: string }>(({ sport, dport }) => [
    `with the nftables firewall a source port in the rule keeps clients out`,
    `clear the source port and write it into the comment: NAT ${sport} with destination port ${dport}`,
  ]),
  unsupported: error<{ what: string; help?: string }>(({ what, help }) => [`not translated: ${what}`, help]),
  limit: error<{ what: string; limit: number; of: string }>(({ what, limit, of }) => [
    `${of} has more than ${limit} ${what}; this rule and its rules before it are not in force`,
  ]),
  'told-some': warning<{ limit: number }>(({ limit }) => [
    `there is more to say about this file than these ${limit} lines`,
  ]),
  quarantined: error<{ answer: string }>(({ answer }) => [
    `the kernel refuses this rule (${answer}), so it is left out; the others are in force`,
    'write it in another way, or tell the makers of pvenat',
  ]),
  // Settings.
  'settings-unusable': error<{ reason: string }>(({ reason }) => [
    `this file cannot be used (${reason}); the settings that it held before stay in force`,
  ]),
  'setting-unknown': warning<{ key: string } & Advice>(({ key, ...advice }) => [
    `unknown setting '${key}' is ignored`,
    ...advise(advice),
  ]),
  'setting-value': error<{ key: string; value: string; expected: string }>(({ key, value, expected }) => [
    `bad value '${value}' for '${key}': expected ${expected}; the default holds`,
  ]),
} as const
