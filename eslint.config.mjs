import tseslint from 'typescript-eslint'

/** What is spread at once could be written where it goes, and would then be checked for properties that do not belong there. */
const SPREAD_LITERALS = ['SpreadElement > ObjectExpression', 'SpreadElement > ArrayExpression']

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
      'no-restricted-syntax': ['error', 'ExportDefaultDeclaration', ...SPREAD_LITERALS],
    },
  },
  {
    files: ['test/**', 'vitest.config.ts'],
    rules: { 'max-lines-per-function': 'off', 'no-restricted-syntax': ['error', ...SPREAD_LITERALS] },
  },
)
