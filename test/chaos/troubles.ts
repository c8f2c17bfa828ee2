/** What the service needs is missing, hangs or fails: NAT stays, the reason is told once, and once when it is over. */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { standIn, waitFor, type Backend } from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'

type Mend = () => Promise<unknown>

interface Trouble {
  make: (node: TestNode) => Promise<Mend>
  tells: RegExp
  /** Edits go on being followed: what fails is not the writing of rules. */
  works?: true
  /** It takes its time, and is the same on the other backend. */
  onlyOn?: Backend
}

const program = (name: string, script?: string) => (node: TestNode) =>
  standIn(node.lab, `/usr/sbin/${name.replace('$B', node.backend)}`, script)

const TROUBLES: Record<string, Trouble> = {
  'a kernel without nf_conntrack_netlink': {
    make: program('conntrack', 'echo "conntrack v1.4.7: Operation failed: invalid parameters" >&2; exit 1'),
    tells: /Operation failed: invalid parameters/,
    works: true,
  },
  'no conntrack': { make: program('conntrack'), tells: /conntrack.*ENOENT/, works: true },
  'a kernel that knows no sets': {
    make: program('ipset', 'echo "ipset v7.17: Cannot open session to kernel." >&2; exit 1'),
    tells: /Cannot open session to kernel/,
  },
  'a save that fails': {
    make: program('iptables-$B-save', 'echo "iptables-save: No such device" >&2; exit 1'),
    tells: /No such device/,
  },
  'not one file descriptor': {
    make: async (node) => {
      const pid = node.pvenat.service?.pid
      const limit = (n: number) => node.sh(`prlimit --pid ${pid} --nofile=${n}:4096`)
      // The lowest free number at any of some moments: it may have a child, or a file open, at one.
      const free = `n=0; while [ -e /proc/${pid}/fd/$n ]; do n=$((n + 1)); done; echo $n`
      const lowest = await node.sh(`for i in $(seq 20); do ${free}; sleep 0.05; done | sort -n | head -n 1`)
      await limit(Number(lowest))
      return () => limit(4096)
    },
    // Who publishes, or puts back, may meet the same and says so for itself.
    tells: /^(?!cannot (?:write|put back) ).*EMFILE/,
  },
  'a program that hangs': {
    make: async (node) => {
      const mend = await program('iptables-$B-save', 'echo $$ > /run/hung; exec sleep 100')(node)
      return async () => {
        await mend()
        await node.sh('kill $(cat /run/hung) || true')
      }
    },
    tells: /iptables-\w+-save did not end within/,
    onlyOn: 'legacy',
  },
}

export function troubleTests(node: TestNode): void {
  const { backend } = node
  test.each(Object.entries(TROUBLES).filter(([, { onlyOn = backend }]) => onlyOn === backend))(
    '%s',
    async (name, { make, tells, works }) => {
      const said = node.listen()
      const served = async () => {
        expect(await node.ask(8080)).toMatchObject({ server: '108' })
        expect(await node.ask(1023)).toMatchObject({ server: '105' })
      }
      const port = 4000 + Object.keys(TROUBLES).indexOf(name)
      const mend = await make(node)
      try {
        await node.save(
          'firewall/105.fw',
          `IN SSH(ACCEPT) # NAT ${port}`,
          `IN ACCEPT -p udp -dport 9 # NAT ${port}`,
        )
        await waitFor(() => said(tells) > 0, { timeoutMs: 22_000, what: String(tells) })
        if (works) await node.opens(port)
        // Two looks later nothing was said again, and all that was in force is.
        await delay(2200)
        await served()
        expect(said(tells)).toBe(1)
        if (!works) await node.publishes({ inStep: false, degraded: expect.stringMatching(tells) as string })
      } finally {
        await mend()
      }
      const over = works ? /^over: /m : /in sync again/
      await waitFor(() => said(over) === 1, { timeoutMs: 20_000, what: 'the end to be told' })
      await node.opens(port, { timeoutMs: 10_000 })
      await node.publishes({ inStep: true, degraded: null })
      await served()
    },
    60_000,
  )
}
