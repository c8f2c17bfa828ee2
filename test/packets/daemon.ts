/** A stand-in for proxmox-firewall: the node is in nftables mode, and the tables hold what the daemon makes of a few rules. */
import { standIn } from '../lab/index.ts'
import type { Ailing } from './ailing.ts'

const HOST = 'nodes/pve1/host.fw'
const CLUSTER = 'firewall/cluster.fw'

/** What becomes of policy_forward: DROP and of no FORWARD rules. */
const POLICY = `table inet proxmox-firewall {
  chain cluster-forward {
    drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state vmap { established : accept, related : accept, invalid : drop }
    jump cluster-forward
  }
}`

/** Guest 108 with a firewall that lets in these packets alone. */
const guest108 = (words: string): string => `table bridge proxmox-firewall-guests
delete table bridge proxmox-firewall-guests
table bridge proxmox-firewall-guests {
  chain guest-108-in {
    ${words} accept
    drop
  }
  chain vm-in {
    type filter hook postrouting priority 0; policy accept;
    oifname "veth108i0" meta protocol ip goto guest-108-in
  }
}`

export class Daemon {
  private remove = (): Promise<void> => Promise.resolve()

  constructor(private readonly ailing: Ailing) {}

  async start(): Promise<void> {
    this.remove = await standIn(this.ailing.node.lab, '/usr/libexec/proxmox/proxmox-firewall', 'exit 0')
    await this.ailing.edit(HOST, '[OPTIONS]\n', '[OPTIONS]\n\nnftables: 1\n')
  }

  /** Starts with policy_forward: DROP, and another rule in a file. */
  async dropsAll(file: string, from: RegExp, to: string): Promise<void> {
    await this.start()
    await this.ailing.edit(CLUSTER, '[OPTIONS]\n', '[OPTIONS]\n\npolicy_forward: DROP\n')
    await this.ailing.edit(file, from, to)
    await this.load(POLICY)
  }

  /** Loads a FORWARD rule. */
  async forwards(words: string): Promise<void> {
    await this.load(`insert rule inet proxmox-firewall cluster-forward ${words} accept`)
  }

  async lets(words: string): Promise<void> {
    await this.load(guest108(words))
  }

  async end(): Promise<void> {
    for (const table of ['inet proxmox-firewall', 'bridge proxmox-firewall-guests'])
      await this.load(`table ${table}\ndelete table ${table}`)
    await this.remove()
  }

  private async load(text: string): Promise<void> {
    await this.ailing.node.sh(`nft -f - <<'EOF'\n${text}\nEOF`)
  }
}
