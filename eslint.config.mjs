import tseslint from 'typescript-eslint'

/** What is spread at once could be written where it goes, and would then be checked for properties that do not belong there. */
const SPREAD_LITERALS = ['SpreadElement > ObjectExpression', 'SpreadElement > ArrayExpression']

/**
 * A regular expression that runs over a whole file, or looks for blanks before an end, takes time by the square of what a tenant
 * writes: a few megabytes of blanks stop repair for minutes (test/hostile/growth.test.ts).
 */
const SLOW_TEXT = [
  ['Literal[regex.flags=/[ms]/]', 'A regular expression reads a line, never a file: split the text first.'],
  [
    "NewExpression[callee.name='RegExp'][arguments.1.value=/[ms]/]",
    'A regular expression reads a line, never a file.',
  ],
  ['Literal[regex.pattern=/\\[\\\\s\\\\S\\]/]', 'A regular expression reads a line, never a file.'],
  ['Literal[regex.pattern=/\\\\s[*+]\\??\\)*\\$/]', 'Blanks at the end: trim the text first.'],
].map(([selector, message]) => ({ selector, message }))

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'fixtures', '**/*.mjs'] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/restrict-template-expressions': 'off',
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true }],
      'no-restricted-syntax': ['error', 'ExportDefaultDeclaration', ...SPREAD_LITERALS, ...SLOW_TEXT],
    },
  },
  {
    // Here all text is our own.
    files: ['test/**', 'install/**', 'vitest.config.ts'],
    rules: { 'max-lines-per-function': 'off', 'no-restricted-syntax': ['error', ...SPREAD_LITERALS] },
  },
)
