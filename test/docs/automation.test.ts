// Rules that Terraform and Ansible would create by the docs. Neither is run: the fields are read, and their rules compiled.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { blocksOf } from './commands.ts'

/** Of a rule, by the documents of bpg/proxmox 0.66 and of community.proxmox 1.4. */
const FIELDS = {
  hcl: 'action type comment dest dport enabled iface log macro proto source sport'.split(' '),
  yaml: 'action type comment dest digest dport enable icmp_type iface log macro pos proto source sport'.split(
    ' ',
  ),
}

function rulesOf(language: 'hcl' | 'yaml'): Map<string, string>[] {
  const text = blocksOf('docs/automation.md').find((block) => block.language === language)?.text ?? ''
  const blocks =
    language === 'hcl'
      ? [...text.matchAll(/^ {2}rule \{\n([^}]*)/gm)].map(([, body = '']) => body)
      : text.split(/^ {6}- /m).slice(1)
  return blocks.map(
    (body) =>
      new Map(
        [...body.matchAll(/^\s*(\w+)(?: *=|:) *"?(.*?)"?$/gm)].map(([, key = '', value = '']) => [
          key,
          value,
        ]),
      ),
  )
}

/** The line that Proxmox VE writes for the fields of a rule. */
function lineOf(rule: ReadonlyMap<string, string>): string {
  const proto = rule.has('proto') ? ` -p ${rule.get('proto')}` : ''
  const dport = rule.has('dport') ? ` -dport ${rule.get('dport')}` : ''
  return `${rule.get('type')?.toUpperCase()} ${rule.get('action')}${proto}${dport} # ${rule.get('comment')}`
}

test.each([
  ['hcl', [':2222/tcp forward', 'egress']],
  ['yaml', [':2222/tcp forward']],
] as const)('the rules in %s are in force', async (language, expected) => {
  const rules = rulesOf(language)
  for (const rule of rules) expect(FIELDS[language]).toEqual(expect.arrayContaining([...rule.keys()]))
  const lines = rules.map(lineOf).join('\n')
  const files = new Map([
    ['firewall/cluster.fw', '[OPTIONS]\nenable: 1\n'],
    ['firewall/105.fw', `[OPTIONS]\nenable: 1\n\n[RULES]\n\n${lines}\n`],
  ])
  const { look } = await worldOf(caseOf(files))
  const { translation } = compile(look)
  expect(
    translation.rules.map(({ state, kind, forwards }) => {
      const ports = forwards.map(({ ports, proto }) => `:${ports?.[0]}/${proto} `)
      return state === 'active' ? `${ports[0] ?? ''}${kind}` : state
    }),
  ).toEqual(expected)
})

test('the role writes the source that get.sh writes', () => {
  const script = readFileSync('install/get.sh', 'utf8')
  const role = readFileSync('install/ansible/pvenat/tasks/install.yml', 'utf8')
  const lines = (text: string) =>
    [...text.matchAll(/^ *((?:Types|URIs|Suites|Components|Signed-By): .*)$/gm)].map(([, line]) => line)
  const keyring = /^keyring=(.*)$/m.exec(script)?.[1] ?? ''
  const written = lines(script).map((line) =>
    line?.replace('$base', '{{ pvenat_base }}').replace('$keyring', keyring),
  )
  expect(lines(role)).toEqual(written)
  expect(written.length).toBe(5)
  for (const variable of ['keyring', 'source'])
    expect(role).toContain(`dest: ${new RegExp(`^${variable}=(.*)$`, 'm').exec(script)?.[1]}\n`)
})
