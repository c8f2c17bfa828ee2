// Where no systemd runs and no Proxmox VE is, as while an image is made: installing does nothing, and says so.
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backends, copyTree, createLab, node1Tree, removeTree, snapshot, type Lab } from '../lab/index.ts'
import { VERSION } from './debs.ts'
import { Debian } from './debian.ts'
import { debianRoot, suites } from './root.ts'

describe.each(suites)('in a %s root', (suite) => {
  let lab: Lab
  let debian: Debian
  let tree: string
  beforeAll(async () => {
    lab = await createLab({ guests: [] })
    tree = await copyTree(node1Tree)
    debian = await Debian.create(lab, await debianRoot(suite), {
      '/srv/new': 'dist',
      '/srv/install': 'install',
      '/srv/pve': tree,
    })
  })
  afterAll(async () => {
    await lab.stop()
    await removeTree(tree)
  })

  const scripts = async (...words: string[]) => {
    for (const [name, argument] of words.map((word) => word.split(' ')))
      await debian.sh(`DPKG_MAINTSCRIPT_PACKAGE=pvenat /var/lib/dpkg/info/pvenat.${name} ${argument}`)
  }

  test('it is installed, said to be off, removed and purged; each script may run again', async () => {
    const before = await snapshot(lab)
    const install = `dpkg -i /srv/new/pvenat_${VERSION}_all.deb`
    expect(await debian.sh(install)).toContain('this is no Proxmox VE node: the service stays off')
    await scripts(
      'postinst configure',
      'postinst configure',
      'prerm remove',
      'prerm remove',
      'postinst abort-remove',
    )
    expect((await debian.run('pvenat', 'check')).stderr).toContain('/etc/pve is not mounted')
    await debian.sh('dpkg --remove pvenat')
    await scripts('postrm remove')
    await debian.sh(install)
    await debian.sh('dpkg --purge pvenat')
    expect((await debian.run('sh', '-c', 'ls -d /etc/pvenat /var/lib/pvenat /run/pvenat')).stdout).toBe('')
    expect(await snapshot(lab)).toBe(before)
  })

  // A machine with nothing but Debian's base: without the packages that each Debian has.
  test('the demo needs 52 packages and 130 MB at most, and says so beforehand', async () => {
    const said = await debian.sh(`cd /srv
. install/prepare.sh
has() { false; }
has_node() { false; }
want_lab
base="apt $(awk '/^Package: / { name = $2 } /^Priority: required$/ { print name }' /var/lib/apt/lists/*_Packages)"
echo 'Dir::State::status "/dev/null";' >/tmp/nothing.conf
export APT_CONFIG=/tmp/nothing.conf
size_of $base; echo
size_of $base netbase $missing`)
    const [base = [], demo = []] = [...said.matchAll(/^(\d+) packages, (\d+) MB$/gm)].map(([, ...all]) =>
      all.map(Number),
    )
    const [packages = 0, size = 0] = demo.map((count, i) => count - (base[i] ?? 0))
    expect(packages).toBeGreaterThan(20)
    expect(packages).toBeLessThanOrEqual(52)
    expect(size).toBeLessThanOrEqual(130)
  })

  // Rules within a tree of chains have no comment and are known by their text, which is iptables' own.
  test('this iptables shows the rules of a tree as they were written', async () => {
    const rules = Array.from({ length: 100 }, (_, i) => [
      `IN ACCEPT -dest 10.10.10.105 -p tcp -dport ${3000 + i} # NAT ${20_000 + 9 * i}`,
      `IN ACCEPT -dest 10.10.10.105 -p udp -dport ${3000 + i} # NAT ${20_000 + 9 * i}`,
      `IN ACCEPT -dest 10.10.10.107 -p udp -dport ${4000 + 3 * i}:${4002 + 3 * i} # NAT ${30_000 + 9 * i}-${30_002 + 9 * i}`,
      `IN ACCEPT -dest fd10::107 -p tcp -dport ${3000 + i} # NAT ${20_000 + 9 * i}`,
      `IN ACCEPT -dest 10.10.10.108 -p sctp -dport ${3000 + i} # NAT ${20_000 + 9 * i} hairpin=0`,
    ])
    await appendFile(join(tree, 'nodes/pve1/host.fw'), `\n[RULES]\n\n${rules.flat().join('\n')}\n`)
    await debian.sh('mount -t proc proc /proc')
    for (const backend of backends) {
      await debian.sh(`printf '[nat]\\nbackend = ${backend}\\n' >/srv/pve/pvenat.conf`)
      const apply = ['node', '/srv/new/pvenat.cjs', 'apply', '--pve-dir', '/srv/pve', '--node', 'pve1']
      await debian.run(...apply)
      expect(await debian.sh(`iptables-${backend}-save -t nat`)).toMatch(/-A PVENAT-DNAT-T-\d+-\d+ -p tcp/)
      expect(await debian.run(...apply)).toMatchObject({ stdout: 'everything is in force' })
      await debian.must('node', '/srv/new/pvenat.cjs', 'rollback')
    }
  })
})
