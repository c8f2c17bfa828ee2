/**
 * The story that `sh install/demo.sh` tells: a forward from the internet, an edit as the GUI saves it, a mistake, and
 * the way back. It ends with an error at the first step that is not seen to work.
 */
import { rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as labs from '../lab/index.ts'
import type { Answer, Backend, Lab } from '../lab/index.ts'
import { shellOn } from './shell.ts'

/** Less than the service's interval between full looks: the save itself must have woken it. */
const MOVED_WITHIN_MS = 3000
const NODE = '203.0.113.2'

async function tell(lab: Lab, backend: Backend, tree: string): Promise<void> {
  const pvenat = new labs.Pvenat(lab, backend, tree)
  const ask = (port: number, timeoutMs = 700) => lab.ask('inet', 'tcp', `${NODE}:${port}`, { timeoutMs })
  const show = async (word: string, hide?: RegExp): Promise<labs.Result> => {
    const result = await pvenat.run(word)
    const lines = result.stdout.split('\n').filter((line) => !hide?.test(line))
    quote(`# pvenat ${word}`, ...lines, result.stderr)
    return result
  }

  step('A Proxmox VE node, two of its guests and the internet, in network namespaces')
  await pvenat.configure()
  await labs.loadPveFirewall(lab, backend, labs.node1Tree)
  await labs.addForeignRules(lab, backend)
  await lab.serve('107', 'tcp', 22)
  await lab.serve('105', 'tcp', 22)
  await lab.serve('pve', 'tcp', 8006)
  const before = await labs.snapshot(lab)
  say(`internet 203.0.113.1 --- ${NODE} node pve1 10.10.10.1 --- guests 10.10.10.107 and .105`)
  say(`pve-firewall's rules and somebody else's are loaded, /etc/pve is ${tree}`)
  await quoteRules(tree, '107.fw')
  await quoteRules(tree, '105.fw')
  see('without pvenat, port 822 of the node', await ask(822, 300), 'nothing')

  step('pvenat run')
  const service = await pvenat.start()
  await service.says(/egress added: .*/)
  say('the service says:')
  quote(service.stdout)

  step('A connection through a forward')
  see(`internet -> ${NODE}:822`, await ask(822), '107:22 for client 203.0.113.1')
  see(`internet -> ${NODE}:1022`, await ask(1022), '105:22 for client 203.0.113.1')
  const { stdout: table } = await show('list')
  check('list has the forward', /^active +:822\/tcp +10\.10\.10\.107:22\b/m.test(table))

  step('In the GUI somebody changes the comment NAT 1022 of guest 105 to NAT 2022')
  see(`internet -> ${NODE}:2022`, await ask(2022, 300), 'nothing')
  const fw = await readFile(join(tree, 'firewall/105.fw'), 'utf8')
  const moved = fw.replace('NAT 1022', 'NAT 2022')
  const saved = performance.now()
  await labs.saveLikeGui(tree, 'firewall/105.fw', moved)
  const what = 'the new port to answer'
  const isThere = async () => typeof (await ask(2022, 25)) !== 'string'
  await labs.waitFor(isThere, { timeoutMs: MOVED_WITHIN_MS, intervalMs: 5, what })
  say(`the new port answered ${Math.round(performance.now() - saved)} ms after the save`)
  see(`internet -> ${NODE}:2022`, await ask(2022), '105:22 for client 203.0.113.1')
  see(`internet -> ${NODE}:1022`, await ask(1022), 'nothing')
  await show('list')

  step('A mistake: a rule of guest 105 asks for the port of the web GUI')
  await labs.saveLikeGui(tree, 'firewall/105.fw', `${moved.trimEnd()}\nIN HTTPS(ACCEPT) # NAT 8006 my web\n`)
  const [said] = await service.says(/.*105\.fw:\d+: error\[port-reserved\].*/)
  say('the service says:')
  quote(said)
  const { exitCode, stderr } = await show('check')
  check('check points at the word', exitCode === 1 && /105\.fw:\d+:\d+: error\[port-reserved\]/.test(stderr))
  see(`internet -> ${NODE}:8006`, await ask(8006), 'pve:8006 for client 203.0.113.1')
  see(`internet -> ${NODE}:2022`, await ask(2022), '105:22 for client 203.0.113.1')

  step('The way back')
  check('rollback succeeds', (await show('rollback', /^ {2}- /)).exitCode === 0)
  const end = await service.ended
  check(`the service has ended, exit code ${end.exitCode ?? end.signal}`, end.exitCode === 0)
  see(`internet -> ${NODE}:822`, await ask(822), 'nothing')
  check('rules, sets, sysctls, links and routes are as before', (await labs.snapshot(lab)) === before)
}

let steps = 0

function step(title: string): void {
  console.log(`\n${++steps}. ${title}`)
}

function say(text: string): void {
  console.log(`   ${text}`)
}

function quote(...texts: string[]): void {
  const lines = texts.flatMap((text) => text.trimEnd().split('\n')).filter((line) => line !== '')
  console.log(lines.map((line) => `   | ${line}`).join('\n'))
}

async function quoteRules(tree: string, name: string): Promise<void> {
  const text = await readFile(join(tree, 'firewall', name), 'utf8')
  say(`in firewall/${name}:`)
  quote(...text.split('\n').filter((line) => line.includes('# NAT')))
}

/** Says who answered, and ends the story when it was not the expected one. */
function see(what: string, answer: Answer, expected: string): void {
  const seen =
    typeof answer === 'string' ? answer : `${answer.server}:${answer.port} for client ${answer.seenAs}`
  say(`${what}: ${seen === 'nothing' ? 'no answer' : `answered by ${seen}`}`)
  if (seen !== expected) throw new Error(`${what}: expected ${expected}, got ${seen}`)
}

function check(what: string, isSo: boolean): void {
  if (!isSo) throw new Error(`not so: ${what}`)
  say(`seen: ${what}`)
}

function parse(args: string[]): { backend: Backend; shell: boolean } {
  const { values } = parseArgs({
    args,
    options: { backend: { type: 'string', default: 'legacy' }, shell: { type: 'boolean', default: false } },
  })
  const backend = labs.backends.find((one) => one === values.backend)
  if (!backend) throw new Error(`expected --backend ${labs.backends.join(' or ')}, got ${values.backend}`)
  return { backend, shell: values.shell }
}

async function main(): Promise<void> {
  const { backend, shell } = parse(process.argv.slice(2))
  console.log(`pvenat demo, iptables-${backend}`)
  const lab = await labs.createLab()
  const tree = await labs.copyTree(labs.node1Tree)
  process.once('exit', () => rmSync(tree, { recursive: true, force: true }))
  process.once('SIGTERM', () => process.exit(1))
  // In a shell it is meant for what runs there.
  process.on('SIGINT', () => (shell ? undefined : process.exit(1)))
  try {
    await (shell ? shellOn(lab, backend, tree) : tell(lab, backend, tree))
  } finally {
    await lab.stop()
  }
  if (!shell) console.log('\ndemo: every step was seen to work')
}

main().catch((error: unknown) => {
  const where = steps === 0 ? '' : `step ${steps} failed: `
  console.error(`\ndemo: ${where}${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
})
