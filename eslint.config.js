import { join } from 'node:path';
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { importEdges } from './scripts/import-edges.mjs';

const clockAndChance = [
  {
    selector: "MemberExpression[object.name='Date'][property.name='now']",
    message: 'no clock here: take the time as an argument',
  },
  {
    selector: "NewExpression[callee.name='Date'][arguments.length=0]",
    message: 'no clock here: take the time as an argument',
  },
  { selector: "CallExpression[callee.name='Date']", message: 'no clock here: take the time as an argument' },
  {
    selector: "MemberExpression[object.name='Math'][property.name='random']",
    message: 'no chance here: the same input gives the same plan',
  },
];

const ioGlobals = ['process', 'Buffer', 'fetch', 'crypto', 'performance', 'console'].map((name) => ({
  name,
  message: 'not in the workflow sandbox: this code does no I/O',
}));

const timerGlobals = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'].map((name) => ({
  name,
  message: 'the domain does not wait: the workflow does',
}));

export default defineConfig(
  { ignores: ['dist/', 'coverage/', '.tools/', '.run/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // An async function without await is how a port's fake or a trivial step keeps its signature.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: ['error', 'always'],
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { house: { rules: { 'import-edges': importEdges } } },
    rules: { 'house/import-edges': ['error', join(import.meta.dirname, 'src')] },
  },
  {
    files: ['src/domain/**/*.ts'],
    rules: {
      'no-restricted-syntax': ['error', ...clockAndChance],
      'no-restricted-globals': ['error', ...ioGlobals, ...timerGlobals],
    },
  },
  {
    files: ['src/workflows/**/*.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        // Date and Math.random are Temporal's own there: the same in every replay.
        {
          // Temporal retries the workflow task of a plain Error for ever: the run neither ends nor fails.
          selector: "ThrowStatement > NewExpression[callee.name='Error']",
          message: 'a plain Error leaves the workflow running for ever: throw ApplicationFailure',
        },
      ],
      'no-restricted-globals': ['error', ...ioGlobals],
    },
  },
  {
    // Fakes of activities and streams are passed about as functions.
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/unbound-method': 'off' },
  },
  {
    files: ['**/*.{js,mjs}'],
    languageOptions: {
      globals: Object.fromEntries(
        ['process', 'console', 'performance', 'Buffer', 'URL', 'setTimeout', 'clearTimeout', 'fetch'].map((name) => [
          name,
          'readonly',
        ]),
      ),
    },
  },
);
