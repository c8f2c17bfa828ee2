/** One rule that the kernel does not take is left out and told of; the others work, and it comes back. */
import { expect, test } from 'vitest'
import { standIn, waitFor } from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'

const EXTENSIONS = '$(dirname $(find /usr/lib -name libxt_sctp.so | head -n 1))'

interface Refusal {
  /** In 105.fw. */
  rules: string[]
  file: string
  /** What stands in its place; undefined: nothing. */
  script: string | undefined
  /** The rules in iptables-save. */
  shows: RegExp
  /** What the journal says. */
  answer: RegExp
}

/** What is refused, by what, and what is then to be read. */
const REFUSALS: Record<string, Refusal> = {
  'a match that is not there': {
    rules: ['IN ACCEPT -p sctp -dport 5 # NAT 15005'],
    file: `libxt_sctp.so`,
    script: undefined,
    shows: /--dport 15005\b/,
    answer: /sctp/,
  },
  'a match that 200 rules need': {
    rules: Array.from({ length: 200 }, (_, i) => `IN ACCEPT -p sctp -dport 5 # NAT ${15_005 + i}`),
    file: `libxt_sctp.so`,
    script: undefined,
    shows: /-p sctp.*DNAT/,
    answer: /sctp/,
  },
  'ipset that is not there': {
    rules: ['IN ACCEPT -source +dc/trusted -p tcp -dport 9 # NAT 15009'],
    file: '/usr/sbin/ipset',
    script: undefined,
    shows: /--dport 15009\b/,
    answer: /ipset/,
  },
  'a type of set that is not there': {
    rules: ['IN ACCEPT -source +dc/trusted -p tcp -dport 9 # NAT 15009'],
    file: '/usr/sbin/ipset',
    script: `input=$(cat)
      case "$input" in
        *"create "*" hash:net "*) echo "ipset v7.17: Error in line 1: Kernel error received: set type not supported" >&2; exit 1 ;;
      esac
      printf '%s\\n' "$input" | exec $real "$@"`,
    shows: /--dport 15009\b/,
    answer: /set type not supported/,
  },
}

/** So many lines of a kind are said at once. */
const MAX_SAID = 20

const forward = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 23 # NAT'

export function refusedTests(node: TestNode): void {
  test.each(Object.entries(REFUSALS))('%s costs its own rules alone', async (_, refusal) => {
    const { rules, script, shows, answer } = refusal
    const told = Math.min(MAX_SAID, rules.length)
    const folder = (await node.sh(`echo ${EXTENSIONS}`)).trim()
    const file = refusal.file.startsWith('/') ? refusal.file : `${folder}/${refusal.file}`
    const installed = async () =>
      (await node.sh(`iptables-${node.backend}-save -t nat`)).match(shows) !== null
    const said = node.listen()
    const mend = await standIn(node.lab, file, script)
    try {
      await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 2022', ...rules)
      await node.opens(2022, { timeoutMs: 10_000 })
      expect(await node.ask(8080)).toMatchObject({ server: '108' })
      expect(await installed()).toBe(false)
      await waitFor(() => said(/105\.fw:\d+: error\[quarantined\]/) === told)
      expect(said(answer)).toBeGreaterThanOrEqual(told)
      await node.publishes({ inStep: true, counts: { quarantined: rules.length } })
      // The commands know what the service knows.
      expect(await node.pvenat.run('plan')).toMatchObject({ exitCode: 0 })
      expect(await node.pvenat.run('status')).toMatchObject({ exitCode: 1 })
      // An edit of another file does not offer it again, and nothing is said twice.
      await node.save('nodes/pve1/host.fw', `${forward} 1023`, `${forward} 3023`)
      await node.opens(3023, { timeoutMs: 10_000 })
      expect(said(/quarantined/)).toBe(told)
    } finally {
      await mend()
    }
    node.pvenat.service?.signal('SIGHUP')
    await waitFor(() => said(/mended\[quarantined\]/) === told, { timeoutMs: 10_000 })
    expect(await installed()).toBe(true)
    await node.save('nodes/pve1/host.fw', `${forward} 1023`)
    await node.publishes({ counts: { quarantined: 0 } })
    await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 2022')
    await waitFor(async () => !(await installed()), { timeoutMs: 10_000 })
  })
}
