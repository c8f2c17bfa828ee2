/** Killed at any moment, without its state, without the programs it needs: NAT stays, the reason is told, the next start is right. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { waitFor, Watcher, type Backend } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'
import { makeRandom } from './random.ts'
import { busyNode, UNTOUCHED } from './world.ts'

const STATE = '/var/lib/pvenat'
const KILLS = 20

/** How each trouble with the state is made on the node. A mount of its own ends with `umount`. */
const STATE_TROUBLES: Record<string, { make: string; mend: string; tells?: RegExp }> = {
  'half-written': { make: `printf '{"version":1,"sysc' > ${STATE}/state.json`, mend: 'true' },
  corrupt: { make: `head -c 3000 /dev/urandom > ${STATE}/state.json`, mend: 'true' },
  'of the wrong shape': {
    make: `echo '{"sysctls":[],"incumbents":{"a":1}}' > ${STATE}/state.json`,
    mend: 'true',
  },
  'a folder': {
    make: `rm ${STATE}/state.json; mkdir ${STATE}/state.json`,
    mend: `rmdir ${STATE}/state.json`,
    tells: /state\.json/,
  },
  'read-only': {
    make: `mount -t tmpfs -o ro tmpfs ${STATE}`,
    mend: `umount -l ${STATE}`,
    tells: /EROFS|read-only/i,
  },
  'on a full disk': {
    make: `mount -t tmpfs -o size=8k tmpfs ${STATE}; head -c 8192 /dev/zero > ${STATE}/filler || true`,
    mend: `umount -l ${STATE}`,
    tells: /ENOSPC|no space/i,
  },
}

/** Lays something over the folder of a program in which the program is not. */
const missing = (program: string, folder: string) => ({
  make: `mkdir -p /run/bare/upper /run/bare/work
    mount -t overlay -o lowerdir=${folder},upperdir=/run/bare/upper,workdir=/run/bare/work overlay ${folder}
    rm ${folder}/${program}`,
  mend: `umount -l ${folder}; rm -rf /run/bare`,
})

export function crashSuite(backend: Backend): void {
  describe(`crashes on ${backend}`, () => {
    const node = testNode(backend, { ...busyNode, pvenat: 'apply' })

    let turn = 0
    /** Another rule each time, so that there is always something to write. */
    const edit = async (): Promise<number> => {
      const port = 30_000 + ++turn
      await node.save(
        'firewall/105.fw',
        `IN SSH(ACCEPT) # NAT ${port}`,
        `IN ACCEPT -p udp -dport 9 -source +dc/trusted # NAT ${port}`,
      )
      return port
    }

    test(`kill -9 of ${KILLS} applies and of the service at random moments`, async () => {
      const random = makeRandom(7)
      const watcher = await Watcher.start(node.lab, UNTOUCHED)
      const timed = performance.now()
      await node.apply()
      const applyMs = performance.now() - timed
      for (let i = 0; i < KILLS; i++) {
        const port = await edit()
        const apply = node.lab.spawn('pve', node.pvenat.argv(i % 4 === 3 ? 'run' : 'apply'))
        await sleep(random.below(applyMs * 1.2))
        await apply.stop('SIGKILL')
        if (i % 5 !== 4) continue // half-done work may also be met by another edit
        await node.apply()
        expect(await node.ask(port)).toMatchObject({ server: '105' })
        expect((await node.pvenat.run('plan')).exitCode).toBe(0)
      }
      await watcher.stop()
      expect(watcher.gaps()).toEqual([])
      expect(watcher.lost).toEqual([])
      expect((await node.parts()).own).not.toContain('pvenat-tmp')
    }, 90_000)

    test('whoever reads its process number may send signals', async () => {
      const service = node.pvenat.launch()
      await node.hears()
      service.signal('SIGHUP')
      await node.opens(await edit())
      expect(await service.stop()).toMatchObject({ exitCode: 0 })
    })

    test.each(Object.entries(STATE_TROUBLES))('the state is %s', async (_, { make, mend, tells }) => {
      await edit()
      await node.apply()
      await node.sh(make)
      try {
        await edit()
        const { stdout, stderr } = await node.pvenat.run('apply')
        for (const one of [8080, 822, 1023])
          expect(await node.ask(one)).toMatchObject({ port: expect.any(Number) as number })
        expect(stdout + stderr).toMatch(tells ?? /state/i)
      } finally {
        await node.sh(mend)
      }
      const port = await edit()
      await node.apply()
      expect(await node.ask(port)).toMatchObject({ server: '105' })
      expect(await node.pvenat.run('plan')).toMatchObject({ exitCode: 0 })
    })

    test.each([
      ['conntrack', '/usr/sbin'],
      ['ipset', '/usr/sbin'],
      [`iptables-${backend}-restore`, '/usr/sbin'],
      ['ip', '/usr/bin'],
    ])('without %s NAT stays and the service tells why; with it all goes on', async (program, folder) => {
      const { make, mend } = missing(program, folder)
      const service = node.pvenat.launch()
      await node.converged()
      await node.sh(make)
      try {
        await edit()
        await waitFor(() => new RegExp(`(^|\\W)${program}\\W`, 'm').test(service.stdout + service.stderr), {
          timeoutMs: 8000,
          what: `the service to miss ${program}`,
        })
        for (const one of [8080, 822, 1023])
          expect(await node.ask(one)).toMatchObject({ port: expect.any(Number) as number })
        expect(service.alive).toBe(true)
      } finally {
        await node.sh(mend)
      }
      const port = await edit()
      await node.opens(port, { timeoutMs: 8000, what: 'the service to recover' })
      await service.stop()
    })
  })
}
