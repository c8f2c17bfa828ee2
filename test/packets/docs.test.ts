// Every command that the documents tell people to type is typed here, on a node of the lab.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { existsSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMMANDS } from '../../src/commands/table.ts'
import { blocksOf, commandsOf, documents } from '../docs/commands.ts'
import { snapshot, waitFor, type Result, type Running } from '../lab/index.ts'
import { searchPath } from '../lab/machine.ts'
import { testNode } from './node.ts'

/** Typed on another machine or at another time; what they name must be there. CI runs them, each by itself. */
const ELSEWHERE = /^(sh|npm|npx) /
/** Typed for real. */
const TYPED = /^(pvenat|pvesh|iptables|nft|ip|sysctl|cat|systemctl|journalctl|apt|ssh|curl|wget) /
/** Needs a whole Debian; here only what it is told is looked at. The tests of the package run it. */
const STAND_INS: Record<string, string> = {
  systemctl: `echo "$*" >>"$0.log"; for unit; do case $unit in
    pvenat | pvenat.service) test -e ${resolve('debian')}/pvenat.service ;;
    pvenat*.*) test -e ${resolve('debian')}/pvenat."$unit" ;;
    pvenat*) test -e ${resolve('debian')}/pvenat."$unit".service ;;
    esac || exit 5; done`,
  journalctl: 'test "$1" = -u',
  apt: 'test "$1" = install || test "$1" = remove || test "$1" = purge',
  ssh: 'exit 0',
  curl: 'exit 0',
  // A release holds get.sh of install/; the tests of the release run it.
  wget: `test "$1" = -q && test -f ${resolve('install')}/"\${2##*/}"`,
}
/** What changes everything comes last, and lines that delete after those that make. */
const LAST = /^(pvenat (rollback|confirm|apply|import --switch)|iptables)\b/
/** They may well have something to say about the lab; that they say it is enough. */
const MAY_COMPLAIN = /^pvenat (check|doctor|status|explain|plan)\b/

describe('the documents, typed', () => {
  let bin: string
  let service: Running
  const node = testNode('legacy', {
    firewall: true,
    serve: ['105:22/tcp'],
    prepare: async ({ tree }) => {
      bin = await mkdtemp(join(tmpdir(), 'pvenat-docs-'))
      const scripts = {
        ...STAND_INS,
        pvesh: `PVE_TREE='${tree}' exec ${process.execPath} ${resolve('test/lab/pvetools.mjs')} pvesh "$@"`,
        pvenat: `exec ${process.execPath} ${resolve('dist/pvenat.cjs')} --node pve1 "$@"`,
      }
      for (const [name, text] of Object.entries(scripts))
        await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
      await mkdir(join(bin, 'etc'))
      await node.sh(`mkdir -p /etc/pve; mount --bind '${tree}' /etc/pve
mount -t tmpfs tmpfs /var/log; install -m 640 -g adm /dev/null /var/log/pve-firewall.log`)
    },
  })
  beforeAll(async () => {
    service = node.lab.spawn('pve', ['sh', '-c', 'exec pvenat run'], {
      env: { PATH: `${bin}:${searchPath}` },
    })
    await service.says(/in force: /)
  })
  afterAll(() => rm(bin, { recursive: true, force: true }))

  const type = (line: string): Promise<Result> =>
    node.lab.exec('pve', ['sh', '-c', line], {
      check: false,
      env: { PATH: `${bin}:${searchPath}` },
      cwd: bin,
    })

  test('the quick start: its rules, as the GUI saves them, are in force', async () => {
    const rules = blocksOf('docs/quick-start.md').find(({ language }) => language === 'ini')?.text ?? ''
    await node.edit('firewall/105.fw', () => rules)
    await node.opens(2222)
    expect(await node.ask(2222)).toMatchObject({ server: '105' })
    await node.serve('inet:443/tcp')
    expect(await node.lab.ask('105', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.2' })
    expect((await type('pvenat list')).stdout).toMatch(/^active +:2222\/tcp/m)
  })

  test('the log and check say what README and quick start show', async () => {
    const shown = ['README.md', 'docs/quick-start.md'].flatMap((path) =>
      blocksOf(path).map(({ text }) => text),
    )
    const lines = shown.flatMap((text) => [
      ...text.matchAll(/^105 \d NAT \S+ \S+ (.*\(rule \d, (NAT.*)\))$/gm),
    ])
    expect(lines.length).toBe(5)
    for (const [, line = '', comment = ''] of lines) {
      const rule = `IN ${comment.includes('8006') ? 'HTTPS' : 'SSH'}(ACCEPT) # ${comment}`
      if (line.startsWith('error')) await node.save('firewall/105.fw', 'OUT ACCEPT # NAT', rule)
      await waitFor(
        async () => {
          const log = await node.sh('cat /var/log/pve-firewall.log')
          if (!`${log}\n`.includes(` ${line}\n`)) throw new Error(log)
          return true
        },
        { what: line },
      )
      const said = shown.find((text) => text.startsWith('/etc/pve/') && text.includes(rule))
      if (said !== undefined) expect((await type('pvenat check')).stderr).toContain(said)
    }
    await node.save('firewall/105.fw', 'OUT ACCEPT # NAT', 'IN SSH(ACCEPT) # NAT 2222')
    await node.opens(2222)
  })

  test('the quick start without the firewall, by the setting that it names', async () => {
    const [setting] = /require-firewall = no/.exec(readFileSync('docs/quick-start.md', 'utf8')) ?? []
    const switchFirewall = (from: number, to: number) =>
      node.edit('firewall/cluster.fw', (text) => text.replace(`enable: ${from}`, `enable: ${to}`))
    await switchFirewall(1, 0)
    await waitFor(async () => typeof (await node.ask(2222)) === 'string')
    await node.pvenat.configure(setting)
    await node.opens(2222)
    await switchFirewall(0, 1)
    await node.pvenat.configure()
  })

  test('the quick start in the demo’s own shell', async () => {
    const rules = blocksOf('docs/quick-start.md').find(({ language }) => language === 'ini')?.text ?? ''
    const input = `cat > /etc/pve/firewall/105.fw << 'END'
${rules}END
until inet call 203.0.113.2:2222; do sleep 0.1; done
guest 107 call 203.0.113.2:2222
guest 105 call 203.0.113.1:443
pvenat list
iptables -t nat -S PREROUTING
rule add 108 in HTTP "NAT 8888"
until inet call 203.0.113.2:8888; do sleep 0.1; done
head -n 12 /etc/pve/firewall/108.fw
rule add 105 in udp/53 "NAT 5353"; grep 5353 /etc/pve/firewall/105.fw
rule add cluster out any "NAT all"; grep 'NAT all' /etc/pve/firewall/cluster.fw
journalctl -u pvenat | grep -c 'in force: '
systemctl stop pvenat; systemctl is-active pvenat; systemctl start pvenat; systemctl is-active pvenat
man pvenat-comments | grep -m 1 'Five rules'
bash --rcfile "$RC" -ic 'complete -p pvenat'`
    const { stdout } = await execa('sh', ['install/demo.sh', '--shell'], {
      input,
      timeout: 50_000,
      env: { RC: resolve('dist/completions/pvenat') },
    })
    expect(stdout).toContain('203.0.113.2:2222: answered by 105, port 22, which sees 203.0.113.1\n')
    expect(stdout).toContain('203.0.113.2:2222: answered by 105, port 22, which sees 10.10.10.1\n')
    expect(stdout).toContain('203.0.113.1:443: answered by inet, port 443, which sees 203.0.113.2\n')
    expect(stdout).toMatch(/^active +:2222\/tcp/m)
    expect(stdout).toContain('-A PREROUTING -j PVENAT-PREROUTING\n')
    expect(stdout).toContain('203.0.113.2:8888: answered by 108, port 80, which sees 203.0.113.1\n')
    expect(stdout).toMatch(/^IN HTTP\(ACCEPT\) # NAT 8888$/m)
    expect(stdout).toMatch(/^IN ACCEPT -p udp -dport 53 # NAT 5353\nOUT ACCEPT # NAT all\n[1-9]\d*$/m)
    expect(stdout).toMatch(/^inactive\nactive$/m)
    expect(stdout).toMatch(/^ *Five rules that most people need/m)
    expect(stdout).toContain('complete -F _pvenat pvenat')
  }, 60_000)

  test('commands that the README does not name as changing something change nothing', async () => {
    const [, named = ''] =
      /Only (`[^]*?) and the service\s+change/.exec(readFileSync('README.md', 'utf8')) ?? []
    const changing = [...named.matchAll(/`([a-z]+)`/g)].map(([, name]) => name)
    expect(changing).toEqual(['apply', 'restore', 'rollback'])
    // The service and the page go on, and there is nothing to confirm.
    const others = Object.keys(COMMANDS).filter(
      (name) => ![...changing, 'run', 'web', 'confirm'].includes(name),
    )
    const state = async () => [
      await snapshot(node.lab),
      await node.sh('find /etc/pve -type f -exec sha256sum {} + | sort'),
    ]
    const before = await state()
    for (const name of others) {
      const words = name === 'explain' ? 'explain tcp 198.51.100.7 203.0.113.2:2222' : name
      expect.soft((await type(`pvenat ${words}`)).exitCode, words).not.toBe(2)
    }
    expect(await state()).toEqual(before)
  })

  test('a rule that a script makes is in force', async () => {
    const [create = ''] = commandsOf('docs/automation.md').filter((line) => line.startsWith('pvesh create'))
    await node.save('firewall/105.fw')
    await waitFor(async () => typeof (await node.ask(2222)) === 'string')
    expect(await type(create)).toMatchObject({ exitCode: 0 })
    await node.opens(2222)
  })

  test('hand-written lines: what is told to be deleted is what was told to be there', async () => {
    const lines = blocksOf('docs/coming-from.md').find(({ language }) => language === 'text')?.text ?? ''
    const ups = [...lines.matchAll(/^post-up +(iptables .*)$/gm)].map(([, line = '']) => line)
    expect(ups.length).toBe(2)
    for (const line of ups) expect(await type(line)).toMatchObject({ exitCode: 0 })
    for (const line of commandsOf('docs/coming-from.md').filter((one) => one.startsWith('iptables '))) {
      expect(await type(line)).toMatchObject({ exitCode: 0, stderr: '' })
    }
    expect((await type('iptables -t nat -S')).stdout).not.toMatch(/10\.10\.10\.0\/24 -o vmbr0/)
  })

  test.each(documents)('%s', async (path) => {
    for (const line of commandsOf(path)) {
      if (ELSEWHERE.test(line)) {
        expectIsThere(line)
        continue
      }
      expect(line).toMatch(TYPED)
      if (!LAST.test(line)) {
        const { exitCode, stdout, stderr } = await type(line)
        const isRight = exitCode === 0 || (MAY_COMPLAIN.test(line) && [1, 3].includes(exitCode ?? 2))
        expect.soft(isRight, `${path}: ${line}: exit ${exitCode}\n${stdout}${stderr}`).toBe(true)
      }
    }
  })

  test('what changes everything, last: apply --confirm, confirm, rollback', async () => {
    const all = documents.flatMap(commandsOf)
    await service.stop()
    // A rule that was made twice is an error, and the recipe goes on only without one.
    await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 2222')
    const recipe =
      blocksOf('README.md').find(({ text }) => text.includes('pvenat apply --confirm'))?.text ?? ''
    // Pasted as a whole into a shell that reads what it is to do line by line.
    const paste = (): Running =>
      node.lab.spawn('pve', ['sh', '-c', `sh <<'END'\n${recipe}END`], {
        env: { PATH: `${bin}:${searchPath}` },
      })
    const log = (): string[] => readFileSync(join(bin, 'systemctl.log'), 'utf8').trim().split('\n')
    const before = log().length
    const started = (): string[] => log().slice(before)
    const kept = paste()
    await kept.says(/unless you run: pvenat confirm/)
    expect(await type('pvenat confirm')).toMatchObject({ exitCode: 0 })
    expect(await kept.ended).toMatchObject({ exitCode: 0 })
    expect(started()).toEqual(['stop pvenat', 'start pvenat'])
    await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 2223')
    const stopped = paste()
    await stopped.says(/unless you run: pvenat confirm/)
    await node.sh('kill -INT $(cat /run/pvenat/unconfirmed)')
    expect(await stopped.ended).not.toMatchObject({ exitCode: 0 })
    expect(started()).toEqual(['stop pvenat', 'start pvenat', 'stop pvenat'])
    for (const line of ['pvenat rollback --dry-run', 'pvenat rollback']) {
      expect(all).toContain(line)
      expect(await type(line)).toMatchObject({ exitCode: 0 })
    }
    expect((await type('iptables-save')).stdout).not.toContain('PVENAT')
  })
})

/** A script of package.json, or a file of the project that knows these options. */
function expectIsThere(line: string): void {
  const [program, word = '', ...words] = line.split(' ')
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }
  const script = [word, join('install', word)].find((path) => existsSync(path))
  if (program === 'sh') {
    const text = script === undefined ? '' : readFileSync(script, 'utf8')
    expect.soft(text, line).not.toBe('')
    for (const option of words.filter((one) => one.startsWith('--')))
      expect.soft(text, line).toContain(option)
  }
  if (program === 'npx')
    for (const path of words.filter((one) => one.includes('/')))
      expect.soft(existsSync(path), line).toBe(true)
  if (program === 'npm' && word === 'run') expect.soft(Object.keys(scripts), line).toContain(words[0] ?? '')
}
