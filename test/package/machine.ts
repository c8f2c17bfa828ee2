/** A lab whose node is a Debian machine with systemd, with what the tests of the package do to it. */
import { expect } from 'vitest'
import {
  copyTree,
  createLab,
  node1Tree,
  Prober,
  removeTree,
  saveLikeGui,
  type Backend,
  type Lab,
} from '../lab/index.ts'
import { Debian } from './debian.ts'
import { debianRoot, type Suite } from './root.ts'

/** Takes the cluster's files for pmxcfs: they are there when it is let go, in the time that it takes. */
const CLUSTER_UNIT = `[Unit]
ConditionPathExists=/srv/pve/.vmlist
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'until [ -e /srv/pve/quorate ]; do sleep 0.1; done; mount --bind /srv/pve /etc/pve'
TimeoutStartSec=60
[Install]
WantedBy=multi-user.target
`

/** Empties the kernel of all rules, sets and settings, as a power failure does. */
const FORGET = `
for tool in iptables ip6tables; do
  for backend in legacy nft; do
    for table in raw mangle nat filter; do
      $tool-$backend -t $table -F
      $tool-$backend -t $table -X
    done
  done
done
ipset destroy
ip link delete pvenat0 2>/dev/null || true
echo 0 >/proc/sys/net/ipv4/ip_forward
`

export interface Machine {
  lab: Lab
  debian: Debian
  /** What is at /etc/pve when the cluster's files are there. */
  tree: string
  backend: Backend
  /** Cuts the power and the network's memory, then boots; the cluster's files come when told. */
  reboot: () => Promise<void>
  /** Whether the cluster's files can be had at the next boot, or now while it waits for them. */
  setQuorate: (isQuorate: boolean) => Promise<void>
  stop: () => Promise<void>
}

/** A forward of the fixture; the lab's guest 108 has to serve port 80 of tcp. */
export const SHOP = { endpoint: '203.0.113.2:8080', server: '108' }

/** Does something while the internet goes on asking for the shop, which never fails. */
export async function withoutInterruption(lab: Lab, act: () => Promise<unknown>): Promise<void> {
  const prober = await Prober.start(lab, [SHOP])
  await act()
  const { asked, failures } = await prober.stop()
  expect(failures.slice(0, 3)).toEqual([])
  expect(asked).toBeGreaterThan(10)
}

/** Lines of shell that make a machine say that it is a Proxmox VE node. */
export const SAYS_PVE = `printf '#!/bin/sh\\necho pve-manager/8.4.1/x\\n' >/usr/bin/pveversion; chmod +x /usr/bin/pveversion`

/** Boots it, with folders of packages at /srv/NAME, and with `more` packages in it. Proxmox VE 8 has the legacy backend, 9 is tried with the other one. */
export async function createMachine(
  suite: Suite,
  debs: Readonly<Record<string, string>>,
  more: readonly string[] = [],
): Promise<Machine> {
  const backend = suite === 'bookworm' ? 'legacy' : 'nft'
  const root = await debianRoot(suite, more)
  const lab = await createLab()
  const tree = await copyTree(node1Tree)
  const shown = Object.entries(debs).map(([name, folder]) => [`/srv/${name}`, folder] as const)
  const debian = await Debian.create(lab, root, { ...Object.fromEntries(shown), '/srv/pve': tree })
  const setQuorate = (isQuorate: boolean) =>
    isQuorate
      ? saveLikeGui(tree, 'quorate', '')
      : lab.exec('pve', ['rm', `${tree}/quorate`]).then(() => undefined)
  await debian.sh(`mkdir -p /etc/pve /usr/local/lib/systemd/system
cat >/etc/systemd/system/pve-cluster.service <<'X'
${CLUSTER_UNIT}X
ln -s ../pve-cluster.service /etc/systemd/system/multi-user.target.wants/
update-alternatives --quiet --set iptables /usr/sbin/iptables-${backend}
update-alternatives --quiet --set ip6tables /usr/sbin/ip6tables-${backend}`)
  await setQuorate(true)
  await debian.boot()
  return {
    lab,
    debian,
    tree,
    backend,
    setQuorate,
    async reboot() {
      await debian.kill()
      await lab.exec('pve', ['sh', '-c', FORGET])
      await debian.boot()
    },
    async stop() {
      await debian.remove()
      await lab.stop()
      await removeTree(tree)
    },
  }
}
