/**
 * What proxmox-firewall has in the kernel for the node of table.ts: hooks, priorities and `ct state` rules as the daemon 1.2.3 makes them,
 * guests as their .fw files say. Policies are those of a node whose owner set none.
 */
import type { Lab } from '../lab/lab.ts'

const STATES = 'ct state vmap { established : accept, related : accept, invalid : drop }'
const NEIGHBOURS =
  'icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-router-advert, nd-neighbor-advert } accept'

/** Guests with firewall=1: their NIC on the node, and what their firewall lets in. */
const GUESTS: Readonly<Record<string, [nic: string, lets: string[]]>> = {
  106: ['tap106i0', ['tcp dport 22']],
  107: ['tap107i0', ['tcp dport 22', 'ip saddr 198.51.100.0/24 tcp dport 3306', 'meta l4proto icmp']],
  108: ['veth108i0', ['tcp dport { 80, 443 }', 'udp dport 5000-5009']],
}

function guestChains(vmid: string, [, lets]: [string, string[]]): string {
  return `
  chain guest-${vmid}-in {
    jump pre-vm-in
    ${NEIGHBOURS}
    ${lets.map((words) => `${words} ct mark set ${vmid} accept`).join('\n    ')}
    drop
  }
  chain guest-${vmid}-out {
    jump pre-vm-out
    ${NEIGHBOURS}
    meta protocol arp accept
    ct mark set ${vmid} accept
  }`
}

const elements = (direction: string): string =>
  Object.entries(GUESTS)
    .map(([vmid, [nic]]) => `"${nic}" : goto guest-${vmid}-${direction}`)
    .join(', ')

const TABLES = `
table inet proxmox-firewall {
  chain host-forward {
  }
  chain cluster-forward {
    accept
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ${STATES}
    jump host-forward
    jump cluster-forward
  }
  chain input {
    type filter hook input priority filter; policy accept;
    ct state established,related accept
  }
  chain output {
    type filter hook output priority filter; policy accept;
    ${STATES}
  }
}
table bridge proxmox-firewall-guests {
  chain pre-vm-in {
    meta protocol != arp ${STATES}
    meta protocol arp accept
  }
  chain pre-vm-out {
    meta protocol != arp ${STATES}
  }
  ${Object.entries(GUESTS)
    .map(([vmid, guest]) => guestChains(vmid, guest))
    .join('')}
  map vm-map-in {
    type ifname : verdict
    elements = { ${elements('in')} }
  }
  map vm-map-out {
    type ifname : verdict
    elements = { ${elements('out')} }
  }
  chain vm-out {
    type filter hook prerouting priority 0; policy accept;
    iifname vmap @vm-map-out
  }
  chain vm-in {
    type filter hook postrouting priority 0; policy accept;
    oifname vmap @vm-map-in
  }
}
`

/** The daemon's first update after `nftables: 1`. */
export async function loadDaemon(lab: Lab): Promise<void> {
  await lab.exec('pve', ['nft', '-f', '-'], { input: TABLES })
}

export async function unloadDaemon(lab: Lab): Promise<void> {
  const tables = 'delete table inet proxmox-firewall\ndelete table bridge proxmox-firewall-guests\n'
  await lab.exec('pve', ['nft', '-f', '-'], { input: tables })
}

/** pve-firewall's next cycle after `nftables: 1`: its own chains go, everything else stays. */
export async function unloadPveFirewall(lab: Lab): Promise<void> {
  const own = '^(:|-A |-A \\S+ -j )(PVEFW|GROUP|(tap|veth|fwbr)[0-9])'
  for (const command of ['iptables-legacy', 'ip6tables-legacy'])
    await lab.exec('pve', [
      'sh',
      '-ec',
      `${command}-save -t filter | grep -vE '${own}' | ${command}-restore -T filter`,
    ])
}
