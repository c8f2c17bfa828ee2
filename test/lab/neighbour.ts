/** Others who program the same kernel: pve-firewall's loop, Docker, an ifupdown2 reload, and somebody who does not look. */
import { fileURLToPath } from 'node:url'
import type { Backend } from './firewall.ts'
import type { Lab } from './lab.ts'
import type { Running } from './running.ts'

const cycleFile = fileURLToPath(new URL('pvefw.mjs', import.meta.url))

export const PVEFW_LOCK = '/run/lock/pvefw.lck'
export const XTABLES_LOCK = '/run/xtables.lock'

/** pve-firewall, one call = one cycle. It counts the cycles that failed, and says why. */
export class PveFirewall {
  cycles = 0
  readonly failures: string[] = []

  constructor(
    private readonly lab: Lab,
    private readonly backend: Backend,
    private readonly tree: string,
    private readonly node = 'pve',
  ) {}

  async cycle(): Promise<void> {
    this.cycles += 1
    const argv = [process.execPath, cycleFile, this.backend, this.tree, String(this.cycles)]
    const { exitCode, stderr } = await this.lab.exec(this.node, ['flock', '-w', '10', PVEFW_LOCK, ...argv], {
      check: false,
    })
    if (exitCode !== 0) this.failures.push(stderr === '' ? `exit ${exitCode}` : stderr)
  }
}

/** Runs shell lines on the node in which `$T4` and `$T6` are the backend's iptables and ip6tables with `-w`. */
export async function tamper(lab: Lab, backend: Backend, script: string, node = 'pve'): Promise<void> {
  const env = { T4: `iptables-${backend} -w`, T6: `ip6tables-${backend} -w`, B: backend }
  await lab.exec(node, ['sh', '-c', script], { env })
}

/** What Docker does at its start: one process a rule, its chains above all others, the policy of FORWARD. */
export const dockerUp = `
for c in DOCKER DOCKER-USER DOCKER-ISOLATION; do $T4 -N $c; done
$T4 -t nat -N DOCKER
$T4 -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
$T4 -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
$T4 -t nat -I POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
$T4 -t nat -A DOCKER -i docker0 -j RETURN
$T4 -P FORWARD DROP
$T4 -I FORWARD -o docker0 -j DOCKER
$T4 -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
$T4 -I FORWARD -i docker0 -j ACCEPT
$T4 -I FORWARD -j DOCKER-ISOLATION
$T4 -I FORWARD -j DOCKER-USER
$T4 -A DOCKER-USER -j RETURN
$T4 -A DOCKER-ISOLATION -j RETURN
$T6 -P FORWARD DROP
`

/** Takes all of that away again. */
export const dockerDown = `
$T4 -P FORWARD ACCEPT
$T6 -P FORWARD ACCEPT
$T4 -D FORWARD -j DOCKER-USER
$T4 -D FORWARD -j DOCKER-ISOLATION
$T4 -D FORWARD -i docker0 -j ACCEPT
$T4 -D FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
$T4 -D FORWARD -o docker0 -j DOCKER
for c in DOCKER DOCKER-USER DOCKER-ISOLATION; do $T4 -F $c; $T4 -X $c; done
$T4 -t nat -D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
$T4 -t nat -D OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
$T4 -t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
$T4 -t nat -F DOCKER
$T4 -t nat -X DOCKER
`

/** What an ifreload does on a node with SDN: its own copy of the zone rule goes and comes. */
export const ifreload = `
$T4 -t raw -I PREROUTING -i fwbr+ -j CT --zone 1
$T4 -t raw -D PREROUTING -i fwbr+ -j CT --zone 1
$T4 -t raw -I PREROUTING -i fwbr+ -j CT --zone 1
$T4 -t raw -D PREROUTING -i fwbr+ -j CT --zone 1
`

/** Takes a lock and keeps it until it is stopped. */
export async function holdLock(lab: Lab, file: string, node = 'pve'): Promise<Running> {
  const holder = lab.spawn(node, ['flock', '--no-fork', file, 'sh', '-c', 'echo held; exec sleep 60'])
  await holder.says(/held/)
  return holder
}

export interface Tampering {
  script: string
  /** What it takes away from connections until it is repaired: nothing, new ones, or standing ones to guests with firewall=1 too. */
  breaks: 'nothing' | 'new' | 'standing'
}

const eachFamily = (line: string): string =>
  `${line.replaceAll('$T', '$T4')}\n${line.replaceAll('$T', '$T6')}`
const tables = 'raw mangle nat filter'

/** Single acts of somebody who does not know, or does not care, that others are there. */
export const TAMPERINGS = {
  'flush of table nat': { script: eachFamily('$T -t nat -F'), breaks: 'new' },
  'flush of table filter': { script: eachFamily('$T -F'), breaks: 'new' },
  'flush of table raw': { script: eachFamily('$T -t raw -F'), breaks: 'standing' },
  'flush and removal of everything': {
    script: eachFamily(`for t in ${tables}; do $T -t $t -F; $T -t $t -X; done`),
    breaks: 'standing',
  },
  'an own chain flushed': { script: '$T4 -t nat -F PVENAT-DNAT', breaks: 'new' },
  'an own chain removed': {
    script:
      '$T4 -t nat -D POSTROUTING -j PVENAT-POSTROUTING; $T4 -t nat -F PVENAT-POSTROUTING; $T4 -t nat -X PVENAT-POSTROUTING',
    breaks: 'new',
  },
  'a rule put into an own chain': { script: '$T4 -t nat -I PVENAT-DNAT 1 -j RETURN', breaks: 'new' },
  'a rule added to an own chain': { script: '$T4 -t nat -A PVENAT-DNAT -j RETURN', breaks: 'nothing' },
  'a rule of ours deleted': { script: '$T4 -t nat -D PVENAT-POSTROUTING 4', breaks: 'new' },
  'the nat PREROUTING hook removed': {
    script: '$T4 -t nat -D PREROUTING -j PVENAT-PREROUTING',
    breaks: 'new',
  },
  'the nat OUTPUT hook removed': { script: '$T4 -t nat -D OUTPUT -j PVENAT-OUTPUT', breaks: 'nothing' },
  'the nat POSTROUTING hook removed': {
    script: '$T4 -t nat -D POSTROUTING -j PVENAT-POSTROUTING',
    breaks: 'new',
  },
  'the FORWARD hook removed': { script: '$T4 -D FORWARD -j PVENAT-FORWARD', breaks: 'new' },
  'the zone hook removed': { script: '$T4 -t raw -D PREROUTING -j PVENAT-ZONE', breaks: 'standing' },
  'the zone rule removed': { script: '$T4 -t raw -D PVENAT-ZONE 1', breaks: 'standing' },
  'the nat hook pushed from first place': {
    script: '$T4 -t nat -I PREROUTING 1 -d 192.0.2.99 -j ACCEPT',
    breaks: 'nothing',
  },
  'the FORWARD hook pushed from first place': {
    script: '$T4 -I FORWARD 1 -d 192.0.2.99 -j ACCEPT',
    breaks: 'nothing',
  },
  'the zone hook pushed from first place': {
    script: '$T4 -t raw -I PREROUTING 1 -d 192.0.2.99 -j ACCEPT',
    breaks: 'nothing',
  },
  'a hook doubled': { script: '$T4 -t nat -A PREROUTING -j PVENAT-PREROUTING', breaks: 'nothing' },
  'a set flushed': { script: 'ipset flush $(ipset list -n | grep pvenat-self-0-.*-v4)', breaks: 'nothing' },
  // While Docker's policy stands, one of them lets pass what guests are sent.
  'all sets flushed': { script: 'ipset flush', breaks: 'new' },
  'a member of a set deleted': {
    script: 'ipset del $(ipset list -n | grep pvenat-self-0-.*-v4) 10.10.10.108,tcp:8080',
    breaks: 'nothing',
  },
  'a member put into a set': {
    script: 'ipset add $(ipset list -n | grep pvenat-self-0-.*-v4) 10.10.10.108,tcp:9',
    breaks: 'nothing',
  },
  'a member of a set exchanged': {
    script:
      's=$(ipset list -n | grep pvenat-self-0-.*-v4); ipset del $s 10.10.10.108,tcp:8080; ipset add $s 10.10.10.108,tcp:9',
    breaks: 'nothing',
  },
  'a set destroyed with the rule that used it': {
    script: '$T4 -t nat -F PVENAT-PREROUTING; ipset destroy $(ipset list -n | grep pvenat-self-0-.*-v4)',
    breaks: 'new',
  },
  'ip_forward switched off': { script: 'echo 0 > /proc/sys/net/ipv4/ip_forward', breaks: 'standing' },
  'the loop interfaces deleted': { script: 'ip link del pvenat0', breaks: 'nothing' },
  'a loop interface taken down': { script: 'ip link set pvenat1 down', breaks: 'nothing' },
  'a route of the loop deleted': { script: 'ip route flush dev pvenat0', breaks: 'nothing' },
  'everything saved and restored': {
    script: 'iptables-$B-save | iptables-$B-restore -w 5; ip6tables-$B-save | ip6tables-$B-restore -w 5',
    breaks: 'nothing',
  },
  'everything saved and restored without ours': {
    script: 'iptables-$B-save | grep -v PVENAT | iptables-$B-restore -w 5',
    breaks: 'standing',
  },
} as const satisfies Record<string, Tampering>

export type TamperingName = keyof typeof TAMPERINGS
