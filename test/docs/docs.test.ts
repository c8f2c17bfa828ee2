// The documents: nothing dangles, and what they tell of settings and codes is there.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { manPage } from '../../install/pages/man.ts'
import { GUEST_LIMITS } from '../../src/nat/limits.ts'
import { documents } from './commands.ts'

const textOf = (path: string): string => readFileSync(path, 'utf8')

test('links lead to files and headings that are there', () => {
  for (const path of documents) {
    for (const [, target = ''] of textOf(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [file = '', heading] = target.split('#')
      const linked = file === '' ? path : join(dirname(path), file)
      expect.soft(existsSync(linked), `${path} links to ${target}`).toBe(true)
      if (heading === undefined || !existsSync(linked)) continue
      const headings = [...textOf(linked).matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
        title
          .toLowerCase()
          .replaceAll(/[^a-z0-9 -]/g, '')
          .replaceAll(' ', '-'),
      )
      expect.soft(headings, `${path} links to ${target}`).toContain(heading)
    }
  }
})

test('pvenat.conf tells every setting, and none that is not there', () => {
  const [, nat = '', guest = ''] = textOf('install/pvenat.conf').split(/^;?\[.*\]$/m)
  const told = (section: string): string[] =>
    [...section.matchAll(/^;([a-z-]+) = /gm)].map(([, name = '']) => name).sort()
  const source = textOf('src/node/settings.ts')
  const known = (table: string): string[] => {
    const [, body = ''] = new RegExp(`const ${table}: .*? = \\{\\n([\\s\\S]*?)\\n\\}\\n`).exec(source) ?? []
    return [...body.matchAll(/^ {2}'?([a-z-]+)'?: key\(/gm)].map(([, name = '']) => name).sort()
  }
  expect(known('NAT').length).toBeGreaterThan(5)
  expect(told(nat)).toEqual(known('NAT'))
  expect(told(guest)).toEqual(known('GUEST'))
})

test('abuse.md tells the limits of one guest as they are', () => {
  const told = [...textOf('docs/abuse.md').matchAll(/^\| .* \| (\d+) \|$/gm)].map(([, limit]) =>
    Number(limit),
  )
  expect(told).toEqual(Object.values(GUEST_LIMITS))
})

test('every man page can be made, and has no table or list that fell apart', () => {
  for (const path of documents.filter((one) => one.startsWith('docs/man/'))) {
    const roff = manPage({
      source: textOf(path),
      comment: textOf('docs/comment.md'),
      settings: textOf('install/pvenat.conf'),
      version: '1.2.3',
      dateSeconds: 0,
    })
    expect.soft(roff.startsWith(`'\\" t\n.TH "PVENAT`), path).toBe(true)
    expect.soft(roff, path).not.toMatch(/<!--|^\||undefined|&\w+;/m)
    expect.soft(roff, `${path}: a cell that may be hyphenated`).not.toMatch(/T\{\n(?!\.nh\n)/)
  }
})

test('the page of the comment begins with the five rules of the README, the file in a column of its own', () => {
  const five = (text: string) => [...text.matchAll(/^\| `.*# NAT.*$/gm)].slice(0, 5).map(([row]) => row)
  const page = textOf('docs/comment.md')
  expect(five(page)).toEqual(five(textOf('README.md')))
  expect(page.match(/^\| rule .*$/gm)).toEqual(['| rule | file | effect |', '| rule | file | effect |'])
  const [synopsis = '', ...parts] = page.split('\n\n').slice(2)
  expect([synopsis.startsWith('```'), parts[0]?.startsWith('Five rules')]).toEqual([true, true])
})

test('the drawing of the README has the comments of its five rules, in their order', () => {
  const rules = [...textOf('README.md').matchAll(/^\| `.*# (NAT.*?)` \|/gm)].map(([, comment]) => comment)
  const arrows = [...textOf('docs/pictures/node.svg').matchAll(/class="word".*?>(.*?)</g)].map(
    ([, word]) => word,
  )
  expect(rules).toHaveLength(5)
  expect(arrows).toEqual(rules)
})

test('the README names the versions that the package is tested with', () => {
  const [, table = ''] = textOf('README.md').split('## Tested with')
  const [, versions = ''] =
    /for \(const version of \[(.*?)\]\)/.exec(textOf('test/package/runtimes.ts')) ?? []
  expect(table).toContain(`| Node.js | ${versions.replaceAll("'", '')} |`)
  expect(textOf('test/package/root.ts')).toContain("['bookworm', 'trixie']")
  expect(table).toContain('| 12 and 13 |')
})
