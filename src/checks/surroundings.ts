/** The service, the programs, and what is around the node. */
import { formatRange, isPrivate } from '../address.ts'
import { placeName } from '../diagnostic.ts'
import { REQUIRE_NO_FIREWALL } from '../facts/fixes.ts'
import type { Forward, NatRule } from '../nat/nat-rule.ts'
import { serves, type Socket } from '../nat/sockets.ts'
import type { View } from '../nat/view.ts'
import type { PortRange } from '../ports.ts'
import { DATACENTER_OFF, sources } from '../nat/marked.ts'
import { capital, wantedFamilies, type Check, type Finding, type Patient } from './finding.ts'

/** Rules count only while the firewall of their scope is on. That of the datacenter is told even if no rule depends on it yet. */
export function firewallOff({ view, translation }: Patient): Finding[] {
  const waiting = translation.rules.filter(({ state, isMeant }) => isMeant && state === 'inactive')
  const off = new Map(sources(view).flatMap(({ off, help }) => (off === '' ? [] : [[off, help] as const])))
  return [...off].flatMap(([reason, help]): Finding[] => {
    const rules = waiting.filter((rule) => rule.reason === reason)
    if (rules.length === 0 && reason !== DATACENTER_OFF) return []
    return [
      {
        id: 'firewall-off',
        severity: rules.length > 0 ? 'error' : 'warning',
        finding: `${capital(reason)}, so rules that depend on it make no NAT.`,
        restsOn: [
          'setting require-firewall = yes',
          ...rules.slice(0, 3).map(({ place }) => placeName(place)),
        ],
        fix: [REQUIRE_NO_FIREWALL],
        why: `With this setting NAT rules work while the firewall is off. Or ${switchOn(help)}.`,
      },
    ]
  })
}

/** `help`: where the switch is. */
export function switchOn(help: string): string {
  return `${help}: look first at the ports that it would close`
}

export const serviceStopped: Check = (patient) => {
  const { running, enabled } = patient.facts.service
  const rests = enabled === undefined ? [] : [`systemctl is-enabled pvenat: ${enabled}`]
  if (!running)
    return {
      id: 'service-stopped',
      severity: wantedFamilies(patient).length > 0 ? 'error' : 'warning',
      finding: 'The service pvenat does not run.',
      restsOn: ['no process that runs pvenat run', ...rests],
      fix: ['systemctl enable --now pvenat'],
      why: 'Changes of rules, addresses and guests are not followed, and rules that get lost are not put back.',
    }
  if (enabled === undefined || enabled.startsWith('enabled')) return undefined
  return {
    id: 'service-disabled',
    severity: 'warning',
    finding: 'The service pvenat runs, but does not start at boot.',
    restsOn: rests,
    fix: ['systemctl enable pvenat'],
    why: 'After the next boot there is no NAT.',
  }
}

/** The oldest versions that pvenat is tested with, and what brings newer ones. */
const OLDEST: readonly [program: keyof Patient['facts']['versions'], version: string, mend: string][] = [
  ['node', '18.19', 'apt install nodejs'],
  ['kernel', '5.10', 'apt install proxmox-default-kernel'],
  ['iptables', '1.8.7', 'apt install iptables'],
  ['ipset', '7.10', 'apt install ipset'],
  ['conntrack', '1.4', 'apt install conntrack'],
]

export const versionsTooOld: Check = ({ facts }) =>
  OLDEST.flatMap(([program, oldest, mend]): Finding[] => {
    const version = facts.versions[program]
    if (version !== '' && compareVersions(version, oldest) >= 0) return []
    return [
      {
        id: version === '' ? 'program-missing' : 'version-old',
        severity: 'error',
        finding:
          version === ''
            ? `The program ${program} is missing.`
            : `${program} ${version} is older than ${oldest}.`,
        restsOn: [program === 'kernel' ? 'uname -r' : `${program} --version`],
        fix: [mend],
        why: program === 'conntrack' ? 'pvenat cannot end stale flows.' : 'pvenat works with it.',
      },
    ]
  })

function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((text) => (text.match(/\d+/g) ?? []).map(Number)) as [number[], number[]]
  for (let i = 0; i < y.length; i++) if ((x[i] ?? 0) !== y[i]) return (x[i] ?? 0) - (y[i] ?? 0)
  return 0
}

export const behindNat: Check = ({ view }) =>
  view.network.external.flatMap(({ name, addresses }): Finding[] => {
    const v4 = addresses.filter(({ family }) => family === 4)
    if (v4.length === 0 || !v4.every(isPrivate)) return []
    return [
      {
        id: 'behind-nat',
        severity: 'info',
        finding: `The addresses of ${name} are private: ${v4.map(formatRange).join(', ')}.`,
        restsOn: [`ip addr show dev ${name}`],
        fix: [],
        why: 'From the internet this node is reached only if the router before it forwards the same ports to it.',
      },
    ]
  })

export const noExternal: Check = ({ view, translation }) => {
  const { auto, names } = view.settings.external
  if (view.network.external.length > 0 || translation.rules.length === 0) return undefined
  return {
    id: 'no-external',
    severity: 'error',
    finding: 'This node has no external interface: none carries a default route, and the settings name none.',
    restsOn: [
      'ip route show default',
      `setting external = ${[...(auto ? ['auto'] : []), ...names].join(', ')}`,
    ],
    fix: [],
    why: 'There is nothing to forward from and nothing to leave by.',
  }
}

/** Whether a forward takes a port from every client. */
export function takesPorts(one: Forward): one is Forward & { ports: PortRange } {
  return !one.full && one.ports !== undefined && one.source.ranges === 'any'
}

/** Sockets of this node that a rule hides from the outside. */
export function hiddenSockets({ listeners }: View, { forwards }: NatRule): Socket[] {
  return listeners.filter((socket) =>
    forwards
      .filter(takesPorts)
      .some(
        ({ proto, ports: [lo, hi], external }) =>
          proto === socket.proto &&
          lo <= socket.port &&
          socket.port <= hi &&
          external.some((address) => serves(socket, address)),
      ),
  )
}

/** A service of the node on a port that a forward of the administrator takes (a guest's rule is refused instead). */
export const servicesHidden: Check = ({ facts, view, translation }) =>
  translation.rules
    .filter(({ state, kind }) => state === 'active' && kind === 'forward')
    .flatMap((rule) =>
      hiddenSockets(view, rule).map(({ proto, port, holder }): Finding => {
        const owners = facts.holders.filter((one) => proto === one.proto && port === one.port)
        const unit = owners[0]?.unit === undefined ? '' : ` ${owners[0].unit}`
        return {
          id: 'service-hidden',
          severity: 'warning',
          finding: `${holder || 'A service of this node'} listens on ${proto}/${port}, and ${placeName(rule.place)} forwards that port to a guest.`,
          restsOn: [`/proc/net/${proto}`, ...owners.map(({ name, pid }) => `process ${pid} (${name})`)],
          fix: [],
          why: `From outside the service cannot be reached. Give one of the two another port: the forward by its comment, or the service${unit}.`,
        }
      }),
    )

export const rulesInError: Check = ({ errors }) => {
  if (errors === 0) return undefined
  return {
    id: 'rules',
    severity: 'warning',
    finding: `${errors} ${errors === 1 ? 'error stands' : 'errors stand'} in rules that are marked NAT.`,
    restsOn: ['pvenat check'],
    fix: ['pvenat check'],
    why: 'These rules do nothing; check says what to type instead.',
  }
}

export const unreadable: Check = ({ facts }) =>
  facts.unread.map((what) => ({
    id: 'unread',
    severity: 'warning',
    finding: `Something could not be read, so nothing is said about it: ${what}`,
    restsOn: [what],
    fix: [],
    why: 'Run doctor as root to have everything looked at.',
  }))
