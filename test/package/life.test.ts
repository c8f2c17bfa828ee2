// The package through its whole life on Debian machines with systemd: installed, disturbed, upgraded, booted, removed.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { guiLines } from '../service/firewall-log.ts'
import { addForeignRules, saveLikeGui, snapshot, waitFor } from '../lab/index.ts'
import { deadMount } from './dead.ts'
import { buildOldDeb, OLD_VERSION, VERSION } from './debs.ts'
import { createMachine, SHOP, withoutInterruption, type Machine } from './machine.ts'
import { FORGET_REPOSITORY, HAVE_REPOSITORY, mend } from './mending.ts'
import { suites } from './root.ts'
import { runtimes } from './runtimes.ts'

const NEW = `/srv/new/pvenat_${VERSION}_all.deb`
const OLD = `/srv/old/pvenat_${OLD_VERSION}_all.deb`
const FIREWALL_LOG = '/var/log/pve-firewall.log'

let oldDebs: string
let nodes: Awaited<ReturnType<typeof runtimes>>
beforeAll(async () => {
  ;[oldDebs, nodes] = await Promise.all([buildOldDeb(), runtimes()])
})
afterAll(() => rm(join(oldDebs, '..'), { recursive: true, force: true }))

describe.each(suites)('on %s', (suite) => {
  let machine: Machine
  let before: { network: string; files: string }

  beforeAll(async () => {
    machine = await createMachine(suite, { new: 'dist', old: oldDebs, nodes: nodes.folder, lab: 'test/lab' })
    const { lab, debian, backend } = machine
    await Promise.all([lab.serve('108', 'tcp', 80), lab.serve('105', 'tcp', 22)])
    await waitFor(() => debian.run('test', '-e', '/etc/pve/local').then(({ exitCode }) => exitCode === 0))
    await addForeignRules(lab, backend)
    before = { network: await snapshot(lab), files: await fileList() }
  })
  afterAll(() => machine.stop())

  const ask = (endpoint: string) => machine.lab.ask('inet', 'tcp', endpoint, { timeoutMs: 200 })
  const apt = (...words: string[]) => machine.debian.must('apt-get', '-y', '-q', ...words)
  const isActive = async () => (await machine.debian.property('pvenat', 'ActiveState')) === 'active'
  const expectShop = async () => expect(await ask(SHOP.endpoint)).toMatchObject({ server: SHOP.server })
  const probe = (act: () => Promise<unknown>) => withoutInterruption(machine.lab, act)
  /** All files that a package could leave, but for dpkg's own knowledge of it, and what systemd clears away some time after a power cut. */
  const fileList = () =>
    machine.debian
      .sh(`find / -xdev \\( -path /proc -o -path /srv -o -path /run -o -path /tmp -o -path /dev -o -path /var/log \\
  -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/tmp -o -path /etc/pve \\) -prune \\
  -o \\( -not -type d -o -not -path '/var/lib/systemd*' \\) -printf '%y %m %u:%g %p %l\\n' | sort`)

  test('installed, it is enabled, ready with NAT in force, and the package is whole', async () => {
    expect(await apt('install', NEW)).toContain('pvenat: next, type NAT as the comment of a firewall rule')
    await expectShop()
    // This systemd knows every word of the units.
    expect(await machine.debian.sh('journalctl -b -o cat')).not.toMatch(/pvenat\S*\.(service|timer):\d+: /)
    expect(
      await machine.debian.sh('systemctl is-active pvenat; systemctl is-enabled pvenat pvenat-early'),
    ).toMatch(/^active\nenabled\nenabled\n/)
    expect(await machine.debian.property('pvenat', 'StatusText')).toMatch(/^OK/)
    expect(await machine.debian.sh('stat -c "%a %U:%G" /run/pvenat')).toContain('2750 root:www-data')
    expect((await machine.debian.sh('dpkg --verify pvenat')).trim()).toBe('')
    expect(await machine.debian.sh('pvenat --version')).toContain(VERSION)
  })

  test('doctor finds a service that is off and a program that is missing or old, and its fix mends it', async () => {
    const { debian } = machine
    await mend(debian, 'service-disabled', 'systemctl disable pvenat')
    await mend(debian, 'service-stopped', 'systemctl disable --now pvenat')
    expect(await debian.sh('systemctl is-active pvenat; systemctl is-enabled pvenat')).toMatch(
      /^active\nenabled\n/,
    )
    await debian.sh(HAVE_REPOSITORY)
    await mend(debian, 'program-missing', 'dpkg --remove --force-depends conntrack')
    await mend(debian, 'version-old', 'dpkg --install --force-downgrade /root/old.deb')
    await debian.sh(FORGET_REPOSITORY)
    await expectShop()
  })

  test('its sandbox lets through what the service needs, and nothing more', async () => {
    const { debian } = machine
    const unit = await debian.sh('systemctl cat pvenat')
    const same = unit
      .split('\n')
      .filter((line) => !/^(Type|Exec|Restart|Watchdog|Notify|WantedBy)/.test(line))
    const probes = PROBES.map((line) => `ExecStart=/bin/sh -c '${line}'`)
    const probe = same.join('\n').replace('[Service]', ['[Service]', 'Type=oneshot', ...probes].join('\n'))
    await debian.sh(`cat >/run/systemd/system/probe.service <<'X'\n${probe}\nX\nsystemctl daemon-reload`)
    const { exitCode } = await debian.run('systemctl', 'start', 'probe')
    const { stdout } = await debian.run('systemctl', 'status', '-n', '40', 'probe')
    expect(exitCode, stdout).toBe(0)
  })

  test('its answers stand in the firewall log, before, while and after logrotate moves it', async () => {
    const { debian, tree } = machine
    await debian.sh(
      `install -m 644 /dev/null ${FIREWALL_LOG}; cat >/etc/logrotate.d/pve-firewall <<'X'\n${ROTATED}X`,
    )
    const file = await readFile(join(tree, 'firewall/105.fw'), 'utf8')
    const lines = async () => guiLines(`${await debian.sh(`zcat -f ${FIREWALL_LOG}* || true`)}\n`, 105)
    const applied = async (port: number) =>
      (await lines()).filter((line) => line.includes(` applied: :${port}/tcp -> 10.10.10.105:22 (`))
    const save = async (port: number) => {
      await saveLikeGui(tree, 'firewall/105.fw', file.replace('# NAT 1022', `# NAT ${port}`))
      await waitFor(async () => (await applied(port)).length > 0, { what: `the answer for port ${port}` })
    }
    await save(3001)
    const rotated = debian.sh(
      'for i in 1 2 3; do logrotate -f /etc/logrotate.d/pve-firewall; sleep 0.2; done',
    )
    for (let port = 3002; port < 3010; port++) await save(port)
    await rotated
    await save(3010)
    expect(await debian.sh(`stat -c '%a %U:%G' ${FIREWALL_LOG}`)).toContain('640 root:adm')
    expect(await debian.sh(`tail -n 1 ${FIREWALL_LOG}`)).toContain(':3010/tcp')
    const all = await lines()
    for (let port = 3001; port <= 3010; port++)
      expect(all.filter((line) => line.includes(` applied: :${port}/tcp`)).length, String(port)).toBe(1)
    await saveLikeGui(tree, 'firewall/105.fw', file)
    await debian.sh('rm /etc/logrotate.d/pve-firewall /var/lib/logrotate/status')
  })

  test('whoever flushes all rules, it puts NAT back', async () => {
    await machine.debian.sh('nft flush ruleset; iptables -t nat -F PREROUTING; iptables -F FORWARD')
    await waitFor(async () => expectShop().then(() => true), { timeoutMs: 10_000 })
    await addForeignRules(machine.lab, machine.backend).catch(() => undefined)
  })

  test('stopped, it leaves NAT in force; killed, it comes back; reloaded, it reads its settings', async () => {
    const { debian } = machine
    expect(await debian.property('pvenat', 'WatchdogTimestampMonotonic')).toMatch(/^[1-9]/)
    await debian.sh('systemctl stop pvenat')
    // Of KillMode=process, what the service has not ended itself would stay.
    expect((await debian.run('pgrep', '-af', 'pvenat')).stdout).toBe('')
    expect(await debian.property('pvenat', 'Result')).toBe('success')
    await expectShop()
    await debian.sh('systemctl start pvenat; systemctl kill -s KILL pvenat')
    await waitFor(async () => (await debian.property('pvenat', 'NRestarts')) === '1', { timeoutMs: 15_000 })
    await waitFor(isActive)
    await debian.sh(`printf '[guest 108]\\nports = 9\\n' >>/etc/pvenat/pvenat.conf; systemctl reload pvenat`)
    await waitFor(async () => (await ask(SHOP.endpoint)) === 'refused')
    await debian.sh(
      `printf '[guest 108]\\nports = 8080, 8443, 15000-15009\\n' >>/etc/pvenat/pvenat.conf; systemctl reload pvenat`,
    )
    await waitFor(async () => expectShop().then(() => true))
  })

  test(
    'it stops and starts in bounded time while /etc/pve hangs, and goes on repairing',
    () => deadMount(machine.debian, expectShop),
    120_000,
  )

  test('upgrades and downgrades interrupt nothing, and keep state and settings', async () => {
    const kept = () => machine.debian.sh('cat /var/lib/pvenat/state.json /etc/pvenat/pvenat.conf')
    await waitFor(async () => {
      const all = await kept()
      // The ports of the saves above are forgotten once the flows to them have been ended.
      return all.includes('"108 tcp 8080-8080 ') && !all.includes('3010-3010')
    })
    const mine = await kept()
    await probe(() => apt('install', '--allow-downgrades', OLD))
    expect(await machine.debian.sh('pvenat --version')).toContain(OLD_VERSION)
    expect(await kept()).toBe(mine)
    await probe(() => apt('install', NEW))
    expect(await machine.debian.sh('pvenat --version')).toContain(VERSION)
    expect(await kept()).toBe(mine)
    expect(await isActive()).toBe(true)
  })

  test('an upgrade restarts the page and the figures where they are on, and only there', async () => {
    const { debian } = machine
    const states = async () => {
      const units = ['pvenat-web.service', 'pvenat-metrics.timer']
      return Promise.all(units.map((unit) => debian.property(unit, 'ActiveState')))
    }
    expect(await states()).toEqual(['inactive', 'inactive'])
    await debian.sh('systemctl start pvenat-web pvenat-metrics.timer')
    const pid = await debian.property('pvenat-web', 'MainPID')
    await apt('install', '--allow-downgrades', OLD)
    expect(await states()).toEqual(['active', 'active'])
    expect(await debian.property('pvenat-web', 'MainPID')).not.toBe(pid)
    await apt('install', NEW)
    expect(await states()).toEqual(['active', 'active'])
    // There is no node_exporter: nothing fails for that.
    await debian.sh('systemctl start pvenat-metrics.service')
    expect(await debian.property('pvenat-metrics', 'ConditionResult')).toBe('no')
    await debian.sh('mkdir -p /var/lib/prometheus/node-exporter; systemctl start pvenat-metrics.service')
    expect(await debian.sh('cat /var/lib/prometheus/node-exporter/pvenat.prom')).toContain('pvenat_')
    await debian.sh('rm -r /var/lib/prometheus')
    await apt('remove', 'pvenat')
    expect(await states()).toEqual(['inactive', 'inactive'])
    await apt('install', NEW)
    await waitFor(isActive)
  })

  test('dpkg may be killed at any time: the next run mends it, and NAT stays', async () => {
    await probe(async () => {
      for (const seconds of [0.05, 0.2, 0.5, 1, 1.5]) {
        const deb = seconds > 0.3 ? NEW : OLD
        await machine.debian.run('timeout', '-s', 'KILL', String(seconds), 'dpkg', '-i', deb)
        await machine.debian.sh(`dpkg -i ${deb}`)
      }
    })
    await waitFor(isActive)
    // Its settings were edited above; of conffiles, dpkg tells that too.
    expect((await machine.debian.run('dpkg', '--verify', 'pvenat')).stdout).toMatch(
      /^\S+ c \/etc\/pvenat\/pvenat.conf$/,
    )
  })

  test('at boot NAT is in force before the cluster’s files are there, and the service takes over', async () => {
    const { debian } = machine
    await machine.setQuorate(false)
    await machine.reboot()
    await waitFor(async () => expectShop().then(() => true), { timeoutMs: 20_000 })
    expect(await debian.property('pve-cluster', 'ActiveState')).toBe('activating')
    expect(await debian.property('pvenat', 'ActiveState')).toBe('inactive')
    await addForeignRules(machine.lab, machine.backend)
    await machine.setQuorate(true)
    await waitFor(isActive, { timeoutMs: 20_000 })
    await expectShop()
    expect(await debian.property('pvenat', 'StatusText')).toMatch(/^OK/)
  })

  test('it runs on the oldest Node.js builds', async () => {
    const { debian, tree } = machine
    const file = await readFile(join(tree, 'firewall/105.fw'), 'utf8')
    let port = 5020
    await debian.sh('cp /usr/bin/node /root/node')
    for (const [version, program] of nodes.programs) {
      await debian.sh(
        `systemctl stop pvenat; install /srv/nodes/${program} /usr/bin/node; systemctl start pvenat`,
      )
      expect((await debian.sh('node --version')).trim()).toBe(version)
      port += 1
      await saveLikeGui(tree, 'firewall/105.fw', file.replace('1022', String(port)))
      await waitFor(async () => typeof (await ask(`203.0.113.2:${port}`)) === 'object', {
        what: `${version} to follow`,
      })
      expect(await debian.sh('pvenat plan')).toContain('everything is in force')
    }
    await debian.sh('systemctl stop pvenat; mv /root/node /usr/bin/node; systemctl start pvenat')
  })

  test('removed, it takes everything out of the kernel; installed again it is back', async () => {
    await apt('remove', 'pvenat')
    expect(await snapshot(machine.lab)).toBe(before.network)
    expect(await machine.debian.sh('ls /etc/pvenat; ls -d /var/lib/pvenat /run/pvenat || true')).toMatch(
      /^pvenat\.conf\n/,
    )
    await apt('install', NEW)
    await expectShop()
    expect(await machine.debian.sh('systemctl is-enabled pvenat pvenat-early')).toMatch(/^enabled\nenabled\n/)
  })

  test('purged, it leaves no file and nothing foreign changed', async () => {
    await apt('purge', 'pvenat')
    expect(await snapshot(machine.lab)).toBe(before.network)
    expect(await fileList()).toBe(before.files)
    expect((await machine.debian.run('systemctl', 'list-unit-files', 'pvenat*')).stdout).toContain(
      '0 unit files',
    )
  })
})

/** What the service does (each must work), and what nobody shall do in its place (behind `!`: it must fail). */
/** As pve-firewall installs it, without the logger that it restarts. */
const ROTATED = `${FIREWALL_LOG} {
\trotate 7
\tdaily
\tmissingok
\tnotifempty
\tdelaycompress
\tcompress
\tcreate 640 root adm
}
`

const PROBES = [
  'unshare --user --map-root-user --net iptables-legacy -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE',
  'unshare --user --map-root-user --net iptables-nft -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE',
  'unshare --user --map-root-user --net ipset create probe hash:net',
  'ipset create pvenat-probe hash:net',
  'ipset destroy pvenat-probe',
  'ip link add pvenat-probe type veth peer name pvenat-probf',
  'ip link delete pvenat-probe',
  'conntrack -L -p udp',
  'flock /run/lock/pvefw.lck iptables-legacy -w 5 -S',
  'sysctl -w net.ipv4.ip_forward=1',
  'test -r /etc/pve/firewall/cluster.fw',
  'touch /var/lib/pvenat/probe /run/pvenat/probe',
  'rm /var/lib/pvenat/probe /run/pvenat/probe',
  'touch /var/log/probe',
  'rm /var/log/probe',
  '! touch /etc/probe',
  '! touch /etc/pve/probe',
  '! touch /usr/sbin/pvenat',
  '! touch /home/probe',
  '! ls /root/.',
  '! sysctl -w kernel.core_pattern=probe',
  '! unshare --net true',
  '! unshare --user --map-root-user --mount true',
  '! mount -t tmpfs tmpfs /mnt',
  '! chroot / true',
  '! setpriv --reuid 1 true',
  '! chrt -f 1 true',
  '! test -e /dev/vda',
]
