import { RecoveryError } from '../../domain/errors.js';
import { literal } from '../../domain/names.js';
import type { Params } from '../../ports.js';

/**
 * Puts values where a statement says `{name:Type}`, as literals: for servers that do not know query parameters (before
 * 19.14). Statements are constants of ours, so a placeholder is never inside of a quoted text.
 */
export function inlineParams(sql: string, params: Params): string {
  return sql.replace(/\{(\w+):[^{}]+\}/g, (_, name: string) => {
    if (!Object.hasOwn(params, name)) throw new RecoveryError('INTERNAL', `no value for {${name}}`);
    return inline(params[name]);
  });
}

function inline(value: unknown): string {
  if (typeof value === 'string') return literal(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  throw new RecoveryError('INTERNAL', `a value of type ${typeof value} cannot be bound`);
}
