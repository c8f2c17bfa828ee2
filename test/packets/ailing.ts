/** A node that is broken in one way after the other, and mended with what pvenat prints as the fix, pasted into a shell of it. */
import { expect } from 'vitest'
import { makeFixer, node1Plan, saveLikeGui, twoUplinks, type Backend, type Result } from '../lab/index.ts'
import { testNode, type TestNode } from './node.ts'

/** What is put back after each of them. */
const FILES = [
  ...['cluster', '105', '107', '108'].map((name) => `firewall/${name}.fw`),
  ...['host.fw', 'lxc/105.conf', 'lxc/108.conf', 'qemu-server/107.conf'].map((name) => `nodes/pve1/${name}`),
  'pvenat.conf',
]

export interface Ailment {
  breaks: (ailing: Ailing) => Promise<unknown>
  /** What breaks besides, once the files are in force. */
  thenBreaks?: (ailing: Ailing) => Promise<unknown>
  /** What Proxmox VE does about the fix, which nothing in the lab does. */
  follows?: (ailing: Ailing) => Promise<unknown>
  /** What is left to put back, besides the files. */
  after?: (ailing: Ailing) => Promise<unknown>
}

/** Its hooks are those of the place where it is made. */
export class Ailing {
  readonly node: TestNode
  private readonly texts = new Map<string, string>()
  private paste!: Awaited<ReturnType<typeof makeFixer>>

  constructor(private readonly backend: Backend = 'legacy') {
    this.node = testNode(backend, {
      lab: { ...twoUplinks, routes: [...node1Plan.routes, 'default via 192.0.2.1 dev eth1 metric 500'] },
      firewall: true,
      pvenat: 'apply',
      serve: ['inet:443/tcp', '105:22,80/tcp', '107:22,3306/tcp', '108:80/tcp'],
      prepare: async ({ lab, pvenat, tree }) => {
        this.paste = await makeFixer(lab, pvenat, tree)
        for (const file of FILES) this.texts.set(file, await this.node.text(file))
      },
    })
  }

  /** Saves a file as it was in the beginning, but for this. */
  edit(file: string, from: string | RegExp, to: string): Promise<void> {
    const text = this.texts.get(file)
    if (text === undefined) throw new Error(`${file} would not be put back`)
    return saveLikeGui(this.node.tree, file, text.replace(from, to))
  }

  /** Runs lines of shell on the node, in which these words are commands of either backend, and of that of the node. */
  sh(script: string): Promise<string> {
    const own = `own() { iptables-${this.backend} -w "$@"; }`
    return this.node.sh(
      `legacy() { iptables-legacy -w "$@"; }; nft() { iptables-nft "$@"; }; ${own}; ${script}`,
    )
  }

  sysctl(key: string, value: number): Promise<string> {
    return this.sh(`sysctl -w ${key}=${value}`)
  }

  /** Breaks it, lets a test look, and puts everything back. */
  async during({ breaks, thenBreaks, after }: Ailment, look: () => Promise<void>): Promise<void> {
    try {
      await breaks(this)
      const files = await Promise.all(
        [...this.texts].map(async ([file, text]) => (await this.node.text(file)) !== text),
      )
      if (files.includes(true)) await this.node.pvenat.run('apply')
      await thenBreaks?.(this)
      await look()
    } finally {
      for (const [file, text] of this.texts) await saveLikeGui(this.node.tree, file, text)
      await after?.(this)
      await this.node.pvenat.run('apply')
    }
  }

  /** Pastes a fix, and does what Proxmox VE would do about it. */
  async mend({ follows }: Ailment, fix: readonly string[]): Promise<Result> {
    expect(fix).not.toEqual([])
    const result = await this.paste(fix)
    await follows?.(this)
    await this.node.pvenat.run('apply')
    return result
  }
}

export const NO_FORWARDING: Ailment = { breaks: (ailing) => ailing.sysctl('net.ipv4.ip_forward', 0) }

export const STRICT_FILTER: Ailment = {
  breaks: (ailing) => ailing.sysctl('net.ipv4.conf.all.rp_filter', 1),
  after: async (ailing) => {
    await ailing.sysctl('net.ipv4.conf.eth1.rp_filter', 0)
    await ailing.sysctl('net.ipv4.conf.vmbr0.rp_filter', 0)
    await ailing.sysctl('net.ipv4.conf.all.rp_filter', 2)
  },
}

export const OTHER_BACKEND_DROPS: Ailment = {
  breaks: (ailing) => ailing.sh('nft -P FORWARD DROP'),
  after: (ailing) => ailing.sh('nft -P FORWARD ACCEPT; nft -F FORWARD'),
}

/** A table of nft itself with these rules in FORWARD. */
export function router(rules: string): Ailment {
  const table = `table inet router { chain forward { type filter hook forward priority 0; ${rules}; }; }`
  return {
    breaks: ({ node }) => node.sh(`nft '${table}'`),
    after: ({ node }) => node.sh('nft delete table inet router'),
  }
}

export const CHAIN_FLUSHED: Ailment = { breaks: (ailing) => ailing.sh('legacy -t nat -F PVENAT-DNAT') }

export const LOOP_GONE: Ailment = { breaks: (ailing) => ailing.sh('ip link delete pvenat0') }

/** Guest 105 answers, and goes out, by another gateway than the node. */
export const OTHER_GATEWAY = {
  breaks: async (ailing) => {
    await ailing.edit('nodes/pve1/lxc/105.conf', 'gw=10.10.10.1,', 'gw=10.10.10.254,')
    await ailing.node.lab.ip('105', ['route replace default via 10.10.10.254'])
  },
  follows: ({ node }) => node.lab.ip('105', ['route replace default via 10.10.10.1']),
} satisfies Ailment

/** The config of guest 105 has no gateway. */
export const NO_GATEWAY = {
  breaks: async (ailing) => {
    await ailing.edit('nodes/pve1/lxc/105.conf', ',gw=10.10.10.1', '')
    await ailing.node.lab.ip('105', ['route del default'])
  },
  after: ({ node }) => node.lab.ip('105', ['route replace default via 10.10.10.1']),
} satisfies Ailment

/** The NIC of guest 105 is disconnected. */
export const UNPLUGGED = {
  breaks: async (ailing) => {
    await ailing.edit('nodes/pve1/lxc/105.conf', 'bridge=vmbr1', 'bridge=vmbr1,link_down=1')
    await ailing.sh('ip link set veth105i0 down')
  },
  after: (ailing) => ailing.sh('ip link set veth105i0 up'),
} satisfies Ailment

/** Guest 105 with a NIC outside, by which it sends. */
const OUTSIDE = {
  vmid: 105,
  nic: 1,
  kind: 'lxc',
  firewall: false,
  bridge: 'vmbr0',
  mac: 'BC:24:11:00:01:55',
  address: '203.0.113.55/24',
  gateway: '203.0.113.1',
} as const

/** Its rules say this; with `bridgeNf` 1 its answers are translated back while they cross the bridge outside. */
export const twoNics = (rules: string, bridgeNf = 1): Ailment => ({
  breaks: async (ailing) => {
    const { lab } = ailing.node
    await ailing.sysctl('net.bridge.bridge-nf-call-iptables', bridgeNf)
    await lab.ip('105', ['route del default'])
    await lab.addGuest('pve', OUTSIDE)
    const net1 = 'net1: name=eth1,bridge=vmbr0,hwaddr=BC:24:11:00:01:55,ip=203.0.113.55/24,gw=203.0.113.1'
    await ailing.edit('nodes/pve1/lxc/105.conf', /,gw=10\.10\.10\.1\b(.*)/, `$1\n${net1}`)
    await ailing.edit('firewall/105.fw', /IN SSH.*/, rules)
  },
  after: async (ailing) => {
    await ailing.sysctl('net.bridge.bridge-nf-call-iptables', 1)
    await ailing.sh('ip link del veth105i1')
    await ailing.node.lab.ip('105', ['route replace default via 10.10.10.1'])
  },
})

export const STRANGER_ANSWERS: Ailment = {
  breaks: (ailing) =>
    ailing.sh('ip neigh replace 10.10.10.105 lladdr 02:00:00:00:00:99 dev vmbr1 nud permanent'),
}

/** A file says something else than in the beginning. */
export const edited = (file: string, from: string | RegExp, to: string): Ailment => ({
  breaks: (ailing) => ailing.edit(file, from, to),
})

/** A module that is not loaded: its folder of sysctls is empty. */
export const notLoaded = (name: string): Ailment => ({
  breaks: (ailing) => ailing.sh(`mount -t tmpfs none /proc/sys/net/${name}`),
})
