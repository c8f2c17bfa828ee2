/** The longer sentences of wordings.ts. */
import { advise, propose, type Advice, type Reader, type Wish, type Words } from './advice.ts'

/** A name that nothing has, and the one that was perhaps meant. */
export type Missing = Record<'name' | 'where', string> & Advice

export function missing(kind: string, { name, where, ...advice }: Missing): Words {
  return [`there is no ${kind} '${name}' in ${where}`, ...advise(advice)]
}

/** The comment with room for the inner address; undefined in a rule that takes none. */
export interface Typed {
  typed?: string | undefined
}

export function nameInner(typed: string | undefined): string {
  return typed === undefined
    ? 'set the source of the rule to its address'
    : `set the destination of the rule to the inner address, or write it into the comment: ${typed}`
}

/** A helper of connection tracking at another port than its own; `command` switches it on. A wish is for passive ports. */
export type Shifted = Record<'what', string> & Record<'command', string | undefined> & Wish

export function shifted({ what, command, wish, proposal }: Shifted): Words {
  const passive =
    'set the server to a few passive ports, and forward them under the same numbers by a rule of their own'
  const help = [command, wish && propose(passive, proposal, passive)[0]]
  return [what, help.filter((part) => part !== undefined).join('; '), [command, proposal]]
}

/** `port 22/tcp`, `protocol gre`. */
export function portOrProtocol(name: string): string {
  return `${/^\d/.test(name) ? 'port' : 'protocol'} ${name}`
}

/** Ports that another forward has. */
interface Taken extends Wish {
  ports: string
  loser: string | undefined
  winner: string
  winnerFor: string
  /** What helps where no other port does. */
  instead?: string | undefined
}

export function taken({ ports, loser, winner, winnerFor, instead, proposal }: Taken, reader: Reader): Words {
  const whose = loser === undefined ? '' : ` of guest ${loser}`
  return [
    `external port ${ports}${whose} is already forwarded by ${reader.isTenant ? winnerFor : winner}`,
    ...propose(
      'pick a free port',
      proposal,
      instead ?? 'pick another port, or switch one of the two rules off',
    ),
  ]
}

/** The setting that makes an interface of the node external. */
export function addExternal(name: string): string {
  return `to add it, write into /etc/pvenat/pvenat.conf: external = +${name}`
}

/** The setting that makes a network on an external interface internal. */
export function addInternal(network: string): string {
  return `if this node is its gateway, write into /etc/pvenat/pvenat.conf: internal = +${network}`
}

/** `without`: the comment without the address, where that may be the address of a router before the node; `meant`: with its last group as port. */
export function externalUnknown({
  address,
  have,
  isGuests,
  isIn,
  without,
  meant,
}: {
  address: string
  have: string
  isGuests: boolean
  isIn: boolean
  without: string | undefined
  meant: string | undefined
}): Words {
  const unknown = `${address} is not an external address of this node`
  if (meant !== undefined) return [unknown, `did you mean ${meant}?`, [meant]]
  const help = [
    ...(have === '' ? [] : [`the external addresses are: ${have}`]),
    ...(isGuests || without !== undefined
      ? []
      : [`if ${address} is routed to this node: ip addr add ${address} dev lo`]),
    ...(without === undefined
      ? []
      : [
          `if the router before this node has ${address}${isIn ? ', forward the port there and' : ','} write here: ${without}`,
        ]),
  ]
  return [unknown, help.join('; ') || undefined]
}

/** A name that no external interface has. */
export function interfaceUnknown({
  name,
  have,
  near,
  isHere,
  canBe,
}: {
  name: string
  have: string
  near: string | undefined
  isHere: boolean
  canBe: boolean
}): Words {
  const help = [
    ...(near === undefined ? [] : [`did you mean ${near}`]),
    ...(have === '' ? [] : [`the external interfaces are: ${have}`]),
    ...(canBe ? [addExternal(name)] : []),
  ]
  return [
    isHere
      ? `${name} is an interface of this node, but no external one`
      : `there is no interface ${name} on this node`,
    help.join('; ') || undefined,
  ]
}

/** Addresses that are not inside: the destination of a forward, or the source of an OUT rule. `meant`: the comment of the forward with snat=1. */
export function leadsNowhere({
  to,
  meant,
  inside,
}: {
  to: string
  meant: string | undefined
  inside: string
}): Words {
  const networks = inside === '' ? '' : ` (the internal networks are: ${inside})`
  if (meant === undefined)
    return [
      `no network or route of this node leads to ${to}, so no answer gets there`,
      `correct the source${networks}, or give this node an address or a route there`,
    ]
  return [
    `what is forwarded to ${to} leaves by an external interface again, and its answers do not come back here`,
    `correct the destination${networks}, give this node an address there, or let it answer this node: ${meant}`,
    [meant],
  ]
}

/** full=1 at an address that the node needs, too. */
export function fullShared({
  ports,
  address,
  setting,
}: Record<'ports' | 'address' | 'setting', string>): Words {
  return [
    `this node keeps ${ports} of ${address}`,
    `to hand over the whole address, write into pvenat.conf: ${setting}`,
  ]
}

/** An external network that lies in the network of an interface: nobody answers when the router asks for its addresses. */
export function networkUnanswered({ network, family }: { network: string; family: 4 | 6 }): Words {
  const command = `ip route add local ${network} dev lo`
  return [
    `${network} lies in the network of an external interface, and nobody there answers for its addresses`,
    family === 4
      ? `have this node answer for all of them: ${command}`
      : 'have the provider route it to this node, or run ndppd for it',
    family === 4 ? [command] : [],
  ]
}

/** full=1 takes the node's own address whole. */
export function fullWhole({ ports, address }: Record<'ports' | 'address', string>): Words {
  return [
    `all of ${address} goes to the guest, also what this node is reached by: ${ports}`,
    'without allow-reserved = yes, or addresses of its [guest N] section, in pvenat.conf the node keeps these',
  ]
}

/** The answer to `NAT ?`: what NAT alone would do, and NAT auto where the guest has a block. */
type Asked = Record<'would', string> & { auto?: string | undefined } & Wish

export function asked({ would, auto, free, proposal }: Asked): Words {
  const [help, proposals] = propose(`free ports: ${free}; for example`, proposal)
  const both = auto === undefined ? would : `${would}; NAT auto ${auto}`
  return [
    `nothing is in force by '?'; NAT alone ${both}`,
    help,
    [...(auto === undefined ? [] : ['NAT auto']), ...proposals],
  ]
}

/** NAT auto where there is no block to take a port from. */
export function blockNone({ isGuests }: { isGuests: boolean }): Words {
  return isGuests
    ? [
        'NAT auto takes a port from the block of its guest, and the guests have no blocks',
        'an administrator gives each guest one in pvenat.conf: guest-block = 20000-59999/20',
      ]
    : ['NAT auto takes a port from the block of a guest, so it works in the files of guests only']
}

/** `count`: how many ports side by side NAT auto needs. */
export function blockFull({ block, count }: { block: string; count: number }): Words {
  return [
    `the block ${block} has no ${count === 1 ? 'free port' : `${count} free ports side by side`} left`,
    'delete a line that has a port of it, or ask an administrator for more ports',
  ]
}

/** A rule names ports that NAT auto gave to another `line`. */
export function autoHas({
  ports,
  proto,
  line,
  proposal,
}: Record<'ports' | 'proto' | 'line', string> & Wish): Words {
  return [
    `external port ${ports}/${proto} is the one that NAT auto gives to ${line}`,
    ...propose('pick a free port', proposal),
  ]
}

/** An edit changes the ports that NAT auto comes to; without `meant` another rule has the port that it had. */
export function autoMoved({ was, now, meant }: Record<'was' | 'now', string> & Advice): Words {
  return [
    `NAT auto would give this rule external port ${now}, and gives it ${was} now`,
    ...propose(
      'to keep the port, write it',
      meant,
      'to keep the port, leave it to this rule: another one takes it now',
    ),
  ]
}

/** A guest without a block of ports; `free` is the number of a block that nobody has. */
interface NoBlock {
  guest: string
  vmid: number
  free: number | undefined
}

/** Another guest has the block that a guest comes to. */
export function blockTaken(facts: NoBlock & { ports: string; holder: number }, { isTenant }: Reader): Words {
  const { guest, ports, holder } = facts
  const owner = isTenant ? 'another guest' : `guest ${holder}`
  return [
    `guest ${guest} has no block of external ports: ${ports} is the block of ${owner}`,
    moveBlock(facts),
  ]
}

/** The settings name a block for a guest that is not there. */
export function blockUnknown(facts: NoBlock & { index: number; last: number }): Words {
  const { guest, index, last } = facts
  const why = `the settings give it block ${index}, and the last one is ${last}`
  return [`guest ${guest} has no block of external ports: ${why}`, moveBlock(facts)]
}

function moveBlock({ vmid, free }: NoBlock): string | undefined {
  return free === undefined
    ? undefined
    : `an administrator gives it another one in pvenat.conf, section [guest ${vmid}]: block = ${free}`
}

export function uplinkBarred({
  name,
  guest,
  allowed,
}: {
  name: string
  guest: string
  allowed: string
}): Words {
  return [
    `guest ${guest} may not leave by uplink ${name}`,
    `its uplinks are: ${allowed || 'none'}; the setting uplinks of the guest allows others`,
  ]
}
