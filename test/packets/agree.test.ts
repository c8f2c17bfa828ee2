// `explain`, `list` and a real packet agree: over all golden cases, and over a sample of random rule files.
import { build } from 'esbuild'
import fc from 'fast-check'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Explanation } from '../../src/explain/step.ts'
import type { Row } from '../../src/show/list.ts'
import { loadCases } from '../cases/case.ts'
import { configWithGateways } from '../explain/world.ts'
import { backends, createLab, Pvenat, removeTree, type Answer, type Lab, type Proto } from '../lab/index.ts'
import { specs } from '../tracer/generate.ts'
import { questions, toPacket } from '../tracer/packets.ts'
import { filesOf, showSpec } from '../tracer/spec.ts'
import * as tracer from '../tracer/world.ts'
import { casePlan, makeCaseTree } from './casetree.ts'
import type { Listed, Question } from './explainer.ts'
import { at, disagreement, idleRows, isV6, type Asked, type Places } from './judge.ts'
import { writeTree } from './tracertree.ts'

/** How many random rule files each backend gets; the golden cases take turns. */
const FILES = 6
const seed = Number(process.env['SEED'] ?? 20261130)

/** The node that rule files are for: who has which address, and the socket of its explainer. */
interface World extends Places {
  lab: Lab
  explainer: string
}

let program: string
beforeAll(async () => {
  program = join(await mkdtemp(join(tmpdir(), 'pvenat-explainer-')), 'explainer.mjs')
  await build({
    entryPoints: ['test/packets/explainer.ts'],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)",
    },
    define: { PVENAT_VERSION: '"0"', PVENAT_PAGE: '{}' },
    logLevel: 'error',
  })
})
afterAll(() => rm(join(program, '..'), { recursive: true }))

/** One program for all questions of a lab: to start one for each takes longer than all else. */
async function startExplainer(lab: Lab): Promise<string> {
  const socket = join(program, '..', `${lab.ns('pve').pid}.sock`)
  await lab.spawn('pve', [process.execPath, program, socket]).says(/^ready$/m)
  return socket
}

async function say<T>(explainer: string, question: Question): Promise<T> {
  const socket = connect(explainer)
  socket.write(`${JSON.stringify(question)}\n`)
  const parts = await socket.setEncoding('utf8').toArray()
  const answer = JSON.parse(parts.join('')) as T & { error?: string }
  if (answer.error !== undefined) throw new Error(answer.error)
  return answer
}

/** For each end of each range of a forward: who calls from outside, and somebody inside. */
function questionsOf(rows: readonly Row[], { external, guests }: World): Asked[] {
  const inside = [...guests.keys()].filter((one) => one !== '203.0.113.50')
  return rows.flatMap(({ kind, proto, external: { addresses, ports, interface: via }, family }, i) => {
    if (kind !== 'forward' && kind !== 'egress') return []
    if (kind === 'egress') return inside.slice(0, 3).map((source) => outward(source, guests))
    const targets = external.filter((one) =>
      addresses === 'any' ? family.includes(isV6(one) ? 6 : 4) : addresses.includes(one),
    )
    const numbers = (ports ?? [[4711, 4711]]).flatMap(([lo, hi]) => [lo, hi]).slice(0, 3)
    return targets.slice(0, via === null ? 3 : 1).flatMap((to) =>
      [...new Set(numbers)].flatMap((port) =>
        protosOf(proto).flatMap((one): Asked[] => {
          const callers = inside.filter((source) => isV6(source) === isV6(to))
          const source = callers[(i + port) % callers.length]
          const call = { proto: one, to, port }
          return [
            { ...call, from: 'inet', source: isV6(to) ? '2001:db8:113::1' : '203.0.113.1' },
            ...(source === undefined ? [] : [{ ...call, from: guests.get(source) ?? '', source }]),
          ]
        }),
      ),
    )
  })
}

function outward(source: string, guests: ReadonlyMap<string, string>): Asked {
  const to = isV6(source) ? '2001:db8:113::1' : '203.0.113.1'
  return { from: guests.get(source) ?? '', source, proto: 'tcp', to, port: 443 }
}

function protosOf(protos: readonly string[]): Proto[] {
  const known = protos.filter((one): one is Proto => one === 'tcp' || one === 'udp')
  return protos.includes('all') ? ['tcp'] : known
}

/** Everybody serves every port that any row or question names. */
async function serveAll(
  { lab, guests }: World,
  rows: readonly Row[],
  asked: readonly Asked[],
): Promise<void> {
  const inner = rows.flatMap(({ inner: { ports } }) =>
    (ports ?? []).flatMap(([lo, hi]) =>
      hi - lo < 32 ? Array.from({ length: hi - lo + 1 }, (_, i) => lo + i) : [lo, hi],
    ),
  )
  const ports = [...new Set([...asked.map(({ port }) => port), ...inner])].filter((port) => port > 0)
  const names = new Set(['inet', ...guests.values()])
  await Promise.all(
    [...names].flatMap((name) => (['tcp', 'udp'] as const).map((proto) => lab.serve(name, proto, ...ports))),
  )
}

/** VMID and gateway of the containers on vmbr1 whose config is new: Proxmox VE sets it in the container, or none. */
function gatewaysIn(files: ReadonlyMap<string, string>): [string, string | undefined][] {
  return [...files].flatMap(([path, text]): [string, string | undefined][] => {
    const [, vmid] = /\/lxc\/(\d+)\.conf$/.exec(path) ?? []
    const [nic = ''] = /^net\d+:.*,bridge=vmbr1,.*/m.exec(text) ?? []
    const [, gateway] = /,gw=(10\.10\.10\.\d+)/.exec(nic) ?? []
    const hasNone = /,ip=10\.10\.10\./.test(nic) && !/,gw=|ip=dhcp/.test(text)
    return vmid !== undefined && (gateway !== undefined || hasNone) ? [[vmid, gateway]] : []
  })
}

/** The containers of which the config pulls the cable. */
function unpluggedIn(files: ReadonlyMap<string, string>): string[] {
  return [...files].flatMap(([path, text]) =>
    text.includes('link_down=1') ? (/\/lxc\/(\d+)\.conf$/.exec(path)?.[1] ?? []) : [],
  )
}

/** Applies a tree and asks all three; returns what is wrong. */
async function ask(world: World, tree: string, more: readonly Asked[]): Promise<string[]> {
  const { explainer } = world
  const listed = await say<Listed>(explainer, { tree })
  const all = new Map([...questionsOf(listed.rows, world), ...more].map((one) => [JSON.stringify(one), one]))
  const asked = [...all.values()]
  await serveAll(world, listed.rows, asked)
  const packets = asked.map(({ proto, source, to, port }) => `${proto} ${source} ${at(to, port)}`)
  const [explained, answers] = await Promise.all([
    say<Explanation[]>(explainer, { packets }),
    Promise.all(asked.map((one) => send(world, one))),
  ])
  const reports = idleRows(listed.rows)
  for (const [i, one] of asked.entries()) {
    const explanation = explained[i] as Explanation
    const judge = (answer: Answer): string => disagreement(one, answer, explanation, listed, world)
    if (judge(answers[i] as Answer) === '') continue
    // Among many questions on a busy machine an answer may be late, which looks like a packet that was dropped. Alone, it is not.
    const answer = await send(world, one)
    const steps = explanation.steps.map(({ verdict, sentence }) => `  ${verdict}: ${sentence}`)
    const wrong = judge(answer)
    if (wrong !== '')
      reports.push([`${JSON.stringify(one)}: ${wrong}`, JSON.stringify(answer), ...steps].join('\n'))
  }
  return reports
}

function send({ lab }: World, { from, source, proto, to, port }: Asked): Promise<Answer> {
  return lab.ask(from, proto, at(to, port), { from: source, timeoutMs: 500 })
}

// Both at once: most of the time goes by in waiting for packets that nobody answers.
describe.concurrent.each(backends)('explain, list and a packet on %s', (backend) => {
  describe.sequential('golden cases', () => {
    let world: World
    beforeAll(async () => {
      const lab = await createLab(casePlan)
      // Networks that cases map by full=1.
      const networks = [
        ...['192.0.2.96/28', '198.51.100.32/28', '198.51.100.64/28', '198.51.100.96/28'].map(
          (network) => `${network} via 203.0.113.2`,
        ),
        '2001:db8:77::/64 via 2001:db8:113::2',
      ]
      await lab.ip(
        'inet',
        networks.map((one) => `route add ${one}`),
      )
      world = {
        lab,
        explainer: await startExplainer(lab),
        external: ['203.0.113.2', '203.0.113.7', '2001:db8:113::2', '2001:db8:113::7'],
        guests: new Map(
          casePlan.guests?.flatMap(({ vmid, address, address6 }) =>
            [address, address6].flatMap((own) =>
              own === undefined ? [] : [[own.replace(/\/.*/, ''), String(vmid)] as const],
            ),
          ),
        ),
      }
    })
    afterAll(() => world.lab.stop())

    const mine = loadCases().filter((_, i) => backends[i % backends.length] === backend)
    test.each(mine.map((one) => [one.name, one] as const))('%s', async (_, one) => {
      const tree = await makeCaseTree(one, backend)
      const guests = gatewaysIn(one.files)
      const unplugged = unpluggedIn(one.files)
      const route = (guest: string, via: string | undefined) =>
        world.lab.ip(guest, [via === undefined ? 'route del default' : `route replace default via ${via}`])
      const plug = (guest: string, to: string) => world.lab.ip('pve', [`link set veth${guest}i0 ${to}`])
      try {
        for (const [guest, gateway] of guests) await route(guest, gateway)
        for (const guest of unplugged) await plug(guest, 'down')
        expect((await ask(world, tree, [])).join('\n')).toBe('')
      } finally {
        for (const guest of unplugged) await plug(guest, 'up')
        for (const [guest] of guests) await route(guest, '10.10.10.1')
        await removeTree(tree)
      }
    })
  })

  describe.sequential('random rule files', () => {
    let world: World
    let tree: string
    beforeAll(async () => {
      const lab = await createLab(tracer.LAB)
      world = {
        lab,
        explainer: await startExplainer(lab),
        external: tracer.EXTERNAL,
        guests: new Map(
          tracer.GUESTS.flatMap(({ vmid, addresses }) => addresses.map((own) => [own, String(vmid)])),
        ),
      }
      tree = await mkdtemp(join(tmpdir(), 'pvenat-tree-'))
      await writeTree(tree, configWithGateways)
    })
    afterAll(async () => {
      await world.lab.stop()
      await removeTree(tree)
    })

    const sample = fc.sample(fc.tuple(specs, fc.array(questions, { minLength: 60, maxLength: 60 })), {
      seed: seed + backends.indexOf(backend),
      numRuns: FILES,
    })
    test.each(sample.map((one, i) => [i, ...one] as const))('file %i', async (_, spec, all) => {
      const pvenat = new Pvenat(world.lab, backend, tree)
      await pvenat.configure(tracer.GRANTED_CONF)
      for (const [name, text] of filesOf(spec, tracer.NODE)) await writeFile(join(tree, name), text)
      await rm(`${tree}/state`, { recursive: true, force: true })
      const asked = all
        .map((one) => toPacket(one, spec))
        .filter(
          ({ state, in: by, source, destination }) =>
            // Not asked are answers; a host of one uplink that calls by another, and a guest out there that calls by its own router
            // (explain cannot know of either), and inner addresses, to which the internet knows no way.
            state === 'NEW' &&
            by !== undefined &&
            source !== '203.0.113.50' &&
            !(tracer.HOSTS.includes(source) && tracer.INNER.includes(destination)) &&
            tracer.route(source) === by &&
            tracer.route(destination) !== by,
        )
      const named = asked.map(({ source, proto, destination: to, dport: port }): Asked => {
        const from = tracer.HOSTS.includes(source) ? 'inet' : String(tracer.guestAt(source)?.vmid)
        return { from, source, proto, to, port }
      })
      const wrong = await ask(world, tree, named)
      expect(wrong.length === 0 ? '' : [showSpec(spec), ...wrong].join('\n')).toBe('')
    })
  })
})
