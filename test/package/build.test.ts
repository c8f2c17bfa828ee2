// What the package is, before anybody installs it.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, expect, test } from 'vitest'
import { readSettings } from '../../src/node/settings.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { DEB, makeDeb, VERSION } from './debs.ts'

const scratch = await mkdtemp(join(tmpdir(), 'pvenat-build-'))
afterAll(() => rm(scratch, { recursive: true, force: true }))

test('two clean clones make the same bytes, whatever the time zone, the umask and the name of the folder', async () => {
  const build = async (name: string, umask: string, env: Record<string, string>) => {
    const folder = join(scratch, name)
    await execa('git', ['clone', '--quiet', '.', folder])
    await execa('sh', ['-c', `umask ${umask}; git rm -rq . && git reset -q --hard`], { cwd: folder })
    return readFile(join(await makeDeb(folder, env), `pvenat_${VERSION}_all.deb`))
  }
  const one = await build('one', '022', { TZ: 'UTC' })
  const other = await build('the other one', '077', { TZ: 'Pacific/Kiritimati', LC_ALL: 'C.UTF-8' })
  expect(one.equals(other)).toBe(true)
})

test('lintian has nothing to say, and nobody told it to be silent', async () => {
  const { stdout } = await execa('lintian', ['--allow-root', '--fail-on', 'none', '--show-overrides', DEB])
  expect(stdout).toBe('')
})

test('man says nothing about its pages at the width of a terminal', async () => {
  for (const name of await readdir('dist/man')) {
    const env = { MANWIDTH: '80', MANROFFSEQ: '', LC_ALL: 'C.UTF-8' }
    const args = ['--warnings', '--encoding=UTF-8', '--local-file', '--troff-device=utf8', `dist/man/${name}`]
    expect((await execa('man', args, { env })).stderr, name).toBe('')
  }
})

test('it holds what it should, and nothing else', async () => {
  const { stdout } = await execa('dpkg-deb', ['--fsys-tarfile', DEB], { encoding: 'buffer' })
  const listed = await execa('tar', ['-tvf', '-'], { input: stdout })
  const files = listed.stdout.split('\n').map((line) => {
    const [mode = '', owner = '', , , , ...name] = line.split(/\s+/)
    // Debian 13's debhelper puts units below /usr, where /lib leads on both releases.
    return `${mode} ${owner} ${name.join(' ').replace(/^\.\/usr\/lib\/systemd/, './lib/systemd')}`
  })
  // What the README leads to; man pages are elsewhere.
  const tracked = (await execa('git', ['ls-files', 'docs', ':!docs/man'])).stdout.split('\n')
  const docs = tracked.map((path) => path.slice('docs/'.length))
  expect(docs).toEqual(expect.arrayContaining(['quick-start.md', 'grafana.json', 'pictures/map.png']))
  expect(files.filter((line) => !line.startsWith('d')).sort()).toEqual(
    [
      '-rw-r--r-- root/root ./etc/pvenat/pvenat.conf',
      '-rw-r--r-- root/root ./lib/systemd/system/pvenat-early.service',
      '-rw-r--r-- root/root ./lib/systemd/system/pvenat-metrics.service',
      '-rw-r--r-- root/root ./lib/systemd/system/pvenat-metrics.timer',
      '-rw-r--r-- root/root ./lib/systemd/system/pvenat-web.service',
      '-rw-r--r-- root/root ./lib/systemd/system/pvenat.service',
      '-rw-r--r-- root/root ./usr/lib/tmpfiles.d/pvenat.conf',
      '-rw-r--r-- root/root ./usr/share/bash-completion/completions/pvenat',
      '-rw-r--r-- root/root ./usr/share/doc/pvenat/changelog.gz',
      '-rw-r--r-- root/root ./usr/share/doc/pvenat/README.md',
      '-rw-r--r-- root/root ./usr/share/doc/pvenat/copyright',
      ...docs.map((name) => `-rw-r--r-- root/root ./usr/share/doc/pvenat/docs/${name}`),
      '-rw-r--r-- root/root ./usr/share/man/man1/pvenat.1.gz',
      '-rw-r--r-- root/root ./usr/share/man/man5/pvenat.conf.5.gz',
      '-rw-r--r-- root/root ./usr/share/man/man7/pvenat-comments.7.gz',
      '-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_pvenat',
      '-rwxr-xr-x root/root ./usr/lib/pvenat/start',
      '-rwxr-xr-x root/root ./usr/sbin/pvenat',
      'lrwxrwxrwx root/root ./usr/sbin/pvenat-rollback -> pvenat',
      'lrwxrwxrwx root/root ./usr/share/man/man1/pvenat-rollback.1.gz -> pvenat.1.gz',
    ].sort(),
  )
})

test('what runs at boot has the sandbox of the service', async () => {
  const [service = '', early = ''] = await Promise.all(
    ['pvenat.service', 'pvenat.pvenat-early.service'].map((name) => readFile(`debian/${name}`, 'utf8')),
  )
  const sandbox = /^# Of root's power[^]*?(?=\n\[Install\])/m.exec(service)?.[0]
  expect(sandbox).toMatch(/^SystemCallFilter=/m)
  expect(early).toContain(sandbox)
})

test('systemd-analyze judges the sandbox of the service as 2.5 or better', async () => {
  const args = ['security', '--offline=yes', '--threshold=25', '--no-pager', 'debian/pvenat.service']
  const { exitCode, stdout } = await execa('systemd-analyze', args, { reject: false })
  expect(stdout).toMatch(/Overall exposure level for pvenat.service: \d/)
  expect(exitCode, stdout).toBe(0)
})

test('every setting of the conffile is a comment, and shows the default', async () => {
  const text = await readFile('install/pvenat.conf', 'utf8')
  expect(text.split('\n').filter((line) => !/^(;.*|\[nat\]|)$/.test(line))).toEqual([])
  const file = join(scratch, 'pvenat.conf')
  await writeFile(file, text.replace(/^;(?! )/gm, ''))
  const { settings, diagnostics } = await readSettings([file])
  expect(diagnostics).toEqual([])
  expect(settings).toEqual({ ...DEFAULT_SETTINGS, guests: settings.guests })
  expect([...settings.guests.keys()]).toEqual([107])
})

test('shellcheck has nothing to say', async () => {
  const { stdout } = await execa('git', ['ls-files', '*.sh'])
  const scripts = ['postinst', 'prerm', 'postrm'].map((name) => `debian/pvenat.${name}`)
  await execa('shellcheck', [...stdout.split('\n'), ...scripts])
})
