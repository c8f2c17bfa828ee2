// Each finding of doctor about a guest, its rules and its addresses, by really breaking the thing.
import { expect, test } from 'vitest'
import * as ailments from './ailing.ts'
import { Daemon } from './daemon.ts'
import { findingTests, found, SSH } from './findings.ts'

const { edited } = ailments
const ailing = new ailments.Ailing()
const { node } = ailing

const CONF_105 = 'nodes/pve1/lxc/105.conf'
const CONF_107 = 'nodes/pve1/qemu-server/107.conf'
const FW_105 = 'firewall/105.fw'

findingTests(ailing, {
  'guest-gateway': { ...ailments.OTHER_GATEWAY, severity: 'error', ask: SSH },
  'address-twice': {
    ...edited('nodes/pve1/lxc/108.conf', 'ip=10.10.10.108/24', 'ip=10.10.10.105/24'),
    severity: 'error',
  },
  'mac-twice': {
    ...edited(CONF_107, /BC:24:11:00:01:07,bridge=vmbr1/, 'BC:24:11:00:01:05,bridge=vmbr1'),
    severity: 'error',
    // The guest of the lab keeps its MAC.
    follows: edited(CONF_107, /$/, '').breaks,
  },
  'stranger-answers': { ...ailments.STRANGER_ANSWERS, severity: 'error', ask: SSH },
  'firewall-not-plugged': {
    ...edited(CONF_105, 'bridge=vmbr1,', 'bridge=vmbr1,firewall=1,'),
    severity: 'warning',
    follows: () =>
      node.lab.ip('pve', [
        'link add fwbr105i0 type bridge',
        'link add fwln105i0 type veth peer name fwpr105p0',
        'link set fwbr105i0 up',
        'link set veth105i0 master fwbr105i0',
        'link set fwln105i0 master fwbr105i0 up',
        'link set fwpr105p0 master vmbr1 up',
      ]),
    ask: { ...SSH, broken: { server: '105' } },
    after: () =>
      node.lab.ip('pve', ['link del fwln105i0', 'link set veth105i0 master vmbr1', 'link del fwbr105i0']),
  },
  'cycle-fails: by a service that a rule for sctp names': {
    breaks: () => ailing.edit(FW_105, 'IN SSH', 'IN ACCEPT -p sctp -dport ssh\nIN SSH'),
    severity: 'error',
    ask: { ...SSH, broken: { server: '105' } },
  },
  'group-dies': {
    breaks: async () => {
      const group = '\n[group own]\nIN ACCEPT -source guest/office\n'
      await ailing.edit('firewall/cluster.fw', /$/, group)
      await ailing.edit('firewall/107.fw', /$/, 'GROUP own\n')
    },
    severity: 'error',
    ask: { ...SSH, broken: { server: '105' } },
  },
  'service-hidden': {
    breaks: async () => {
      const rule = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 22 # NAT 9105\n'
      await ailing.edit('firewall/cluster.fw', /^OUT/m, `${rule}OUT`)
      const listen = 'require("net").createServer().listen(9105, () => console.log("up"))'
      await node.lab.spawn('pve', [process.execPath, '-e', listen]).says(/up/)
    },
    severity: 'warning',
    ask: { from: 'inet', to: '203.0.113.2:9105', broken: { server: '105' } },
    hasNoFix: true,
  },
  rules: {
    ...edited(FW_105, 'NAT 1022', 'NAT 1022x'),
    severity: 'warning',
    isAdvice: true,
    follows: edited(FW_105, /$/, '').breaks,
  },
})

test('bridge-zone: said while the table is missing; the fix makes it where the kernel can track connections on bridges', async () => {
  const isSaid = async () => (await found(ailing)).some(({ id }) => id === 'bridge-zone')
  const daemon = new Daemon(ailing)
  const nftablesMode: ailments.Ailment = {
    breaks: () => daemon.start(),
    thenBreaks: () => node.sh('nft delete table bridge pvenat 2>/dev/null || true'),
    after: () => daemon.end(),
  }
  expect(await isSaid()).toBe(false)
  await ailing.during(nftablesMode, async () => {
    const finding = (await found(ailing)).find(({ id }) => id === 'bridge-zone')
    expect(finding).toMatchObject({ severity: 'error', fix: ['modprobe nf_conntrack_bridge; pvenat apply'] })
    await ailing.mend(nftablesMode, finding?.fix ?? [])
    // With a kernel that can, and with packets: test/qemu.
    const tables = await node.sh('nft list tables bridge')
    expect(await isSaid()).toBe(!tables.includes('table bridge pvenat'))
  })
  expect(await isSaid()).toBe(false)
})
