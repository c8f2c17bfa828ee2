/** Locks that somebody holds for long. */
import { describe, expect, test } from 'vitest'
import { holdLock, now, PVEFW_LOCK, XTABLES_LOCK, type Backend } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'

export function locksSuite(backend: Backend): void {
  describe(`locks on ${backend}`, () => {
    const node = testNode(backend, { serve: ['105:22/tcp'], pvenat: 'apply' })

    test('pvefw.lck held for a minute: apply goes on after 3 s without it, and says so', async () => {
      const holder = await holdLock(node.lab, PVEFW_LOCK)
      await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 2022')
      const start = now()
      const { stderr } = await node.apply()
      const ms = now() - start
      console.log(`${backend}: apply with pvefw.lck held took ${Math.round(ms)} ms`)
      expect(ms).toBeGreaterThan(2900)
      expect(ms).toBeLessThan(10_000)
      expect(stderr).toContain('pvefw.lck')
      expect(holder.alive).toBe(true)
      expect(await node.ask(2022)).toMatchObject({ server: '105' })
      await holder.stop('SIGKILL')
    })

    test('the xtables lock held for 2 s: apply waits for it', async () => {
      if (backend === 'nft') return // nft has none
      const holder = await holdLock(node.lab, XTABLES_LOCK)
      await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 3022')
      const start = now()
      const timer = setTimeout(() => void holder.stop('SIGKILL'), 2000)
      await node.apply()
      clearTimeout(timer)
      expect(now() - start).toBeGreaterThan(1900)
      expect(await node.ask(3022)).toMatchObject({ server: '105' })
    })

    test('both locks held for ever: NAT stays, the reason is told, and the next apply is right', async () => {
      if (backend === 'nft') return
      const holders = await Promise.all([PVEFW_LOCK, XTABLES_LOCK].map((file) => holdLock(node.lab, file)))
      await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 4022')
      const { exitCode, stderr } = await node.pvenat.run('apply')
      expect(exitCode).toBe(1)
      expect(stderr).toMatch(/xtables|lock/)
      expect(await node.ask(3022)).toMatchObject({ server: '105' })
      await Promise.all(holders.map((holder) => holder.stop('SIGKILL')))
      await node.apply()
      expect(await node.ask(4022)).toMatchObject({ server: '105' })
    }, 40_000)

    test('locks are held for the write alone: a dry look takes none', async () => {
      const planMs = async () => {
        const start = now()
        expect(await node.pvenat.run('plan')).toMatchObject({ exitCode: 0, stderr: '' })
        return now() - start
      }
      const freeMs = await planMs()
      const holders = await Promise.all([PVEFW_LOCK, XTABLES_LOCK].map((file) => holdLock(node.lab, file)))
      // Less than whoever wants one waits for it.
      expect((await planMs()) - freeMs).toBeLessThan(2500)
      await Promise.all(holders.map((holder) => holder.stop('SIGKILL')))
    })
  })
}
