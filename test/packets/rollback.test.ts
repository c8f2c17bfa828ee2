// What `rollback` removes of folders: its own files and nothing else, and it goes on when one thing cannot be removed.
import { expect, test } from 'vitest'
import { snapshot } from '../lab/index.ts'
import { testNode } from './node.ts'

const node = testNode('legacy', { serve: ['105:22/tcp'] })
const list = (dir: string) => node.sh(`ls -A ${dir}`)

test('only tells what it would do, in these words', async () => {
  await node.apply()
  const before = await node.sh('iptables-legacy -S -t nat; ls -A /var/lib/pvenat /run/pvenat')
  const { stdout, exitCode } = await node.pvenat.run('rollback', '--dry-run')
  expect(exitCode).toBe(0)
  const lines = stdout.split('\n').filter((line) => !/^ {2}- |^legacy:$|^nft:$/.test(line))
  expect(lines.filter((line) => !/^would (remove|set|stop) /.test(line))).toEqual([])
  expect(stdout).toContain('\nwould remove chain PVENAT-DNAT (IPv4)\n')
  expect(stdout).toContain('\nwould set net.ipv4.ip_forward = 0\n')
  expect(stdout).toContain('\nwould remove /var/lib/pvenat/state.json\n')
  expect(await node.sh('iptables-legacy -S -t nat; ls -A /var/lib/pvenat /run/pvenat')).toBe(before)
})

test('a folder with files of others loses those of pvenat only', async () => {
  await node.sh('mkdir -p /run/mine/sub; touch /run/mine/keys /run/mine/.state.json.77')
  await node.pvenat.run('apply', '--state-dir', '/run/mine')
  expect(await list('/run/mine')).toContain('state.json')
  const { stdout, stderr, exitCode } = await node.pvenat.run('rollback', '--state-dir', '/run/mine')
  expect(await list('/run/mine')).toBe('keys\nsub')
  expect(exitCode).toBe(0)
  expect(stderr).toBe("pvenat: /run/mine stays: keys, sub in it is not pvenat's")
  expect(stdout).toContain('\nremoved /run/mine/state.json\n')
})

test('a mount point is emptied and named; all else is removed', async () => {
  await node.pvenat.run('rollback')
  await node.sh('rm -r /run/mine; mkdir -p /var/lib/pvenat; mount -t tmpfs none /var/lib/pvenat')
  await node.apply()
  expect(await node.ask(1022)).toMatchObject({ server: '105' })
  const { stderr, exitCode } = await node.pvenat.run('rollback')
  expect(exitCode).toBe(0)
  expect(stderr).toBe('pvenat: /var/lib/pvenat is empty but stays: it is in use, as a mount point is (EBUSY)')
  expect(await list('/var/lib/pvenat')).toBe('')
  expect(await node.sh('ls -d /run/pvenat 2>/dev/null || true')).toBe('')
  expect(typeof (await node.ask(1022))).toBe('string')
  await node.sh('umount /var/lib/pvenat; rmdir /var/lib/pvenat')
  expect(await snapshot(node.lab)).toBe(node.untouched)
})

test('a file that cannot be removed is named, and the rest goes', async () => {
  await node.apply()
  await node.sh('touch /run/pvenat/status.json; mount --bind /run/pvenat/status.json /run/pvenat/status.json')
  const { stderr, exitCode } = await node.pvenat.run('rollback')
  expect(exitCode).toBe(1)
  expect(stderr).toContain('/run/pvenat/status.json: ')
  expect(await list('/run/pvenat')).toBe('status.json')
  await node.sh('umount /run/pvenat/status.json')
  expect(await node.pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
  expect(await snapshot(node.lab)).toBe(node.untouched)
})
